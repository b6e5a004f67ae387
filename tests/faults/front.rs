//! Whom do clients ask, and what may they be told? Every answer that a fault leads to passes through here.

use std::time::{Duration, Instant};

use crate::harness::request::Answer;
use crate::harness::{App, Request};

/// A request that has no answer by then hangs.
const PATIENCE: Duration = Duration::from_secs(8);

/// An answer that came to its end, or why none did: it was cut off, or there was nothing for too long.
pub type Told = Result<Answer, String>;

/// One server, or what stands before several of them.
pub trait Front: Send + Sync + 'static {
    /// Asks there, wherever the request says that it goes.
    fn ask(&self, request: Request) -> impl Future<Output = Told> + Send;
}

impl Front for App {
    async fn ask(&self, request: Request) -> Told {
        told(request.to(&self.base)).await
    }
}

/// What is answered. A 503 says whose fault it is and when to come again (L6): to an application as an error, to a
/// person on a page.
pub async fn told(request: Request) -> Told {
    let asked = request.path();
    let answered = async {
        let response = request.try_send().await?;
        Answer::whole(response, asked.clone()).await
    };
    let answer = tokio::time::timeout(PATIENCE, answered).await;
    let answer = answer.map_err(|_| format!("{asked}: nothing for {PATIENCE:?}"))?;
    let answer = answer.map_err(|error| format!("{asked}: {error:?}"))?;
    if answer.status == 503 {
        let is_page = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        let is_ours = is_page || answer.error() == "temporarily_unavailable";
        assert!(
            is_ours && answer.header("retry-after").is_some(),
            "whose fault, and until when? {answer:#?}"
        );
    }
    Ok(answer)
}

/// Whether the fault is called ours. A person is told on a page, or by way of the application.
pub fn is_refusal(answer: &Answer) -> bool {
    let is_redirect = matches!(answer.status, 302 | 303);
    answer.status == 503 || is_redirect && answer.sent("error").as_deref() == Some("temporarily_unavailable")
}

/// Whether that is what introspection says of what lives.
pub fn is_alive(answer: &Answer) -> bool {
    answer.status == 200 && answer.json()["active"] == true
}

/// Whether that is what introspection, a resource or the token endpoint says of what is dead.
pub fn is_dead(answer: &Answer) -> bool {
    match (answer.status, answer.error().as_str()) {
        (200, "") => answer.json()["active"] == false,
        (401, "invalid_token") | (400, "invalid_grant") => true,
        _ => false,
    }
}

/// Whether a server says that a token lives; nothing if it cannot know.
pub async fn says(app: &App, token: &str) -> Option<bool> {
    let answer = told(app.introspect(token)).await.unwrap_or_else(|silence| panic!("{silence}"));
    if answer.status == 503 { None } else { Some(answer.is(200).json()["active"].as_bool().unwrap()) }
}

/// How a token request is answered, if it is.
pub async fn issue(app: &App) -> Option<u16> {
    told(app.client_credentials()).await.ok().map(|answer| answer.status)
}

/// How long until a token is given.
pub async fn until_served(app: &App) -> Duration {
    let begun = Instant::now();
    while issue(app).await != Some(200) {
        assert!(begun.elapsed() < Duration::from_secs(30), "not served again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}
