//! stub
use crate::{clock::SharedClock, config::Config, state::AppState};
use std::net::SocketAddr;
pub struct Running { pub addresses: Vec<SocketAddr>, pub state: AppState }
impl Running { pub async fn stop(self) { std::future::ready(()).await } }
#[derive(Debug, thiserror::Error)]
pub enum StartError { #[error(transparent)] Open(#[from] crate::open::OpenError) }
pub async fn start(config: Config, clock: SharedClock) -> Result<Running, StartError> {
    let state = crate::open::open(std::sync::Arc::new(config), clock).await?;
    Ok(Running { addresses: vec![], state })
}
