//! Which PostgreSQL database does a test use? A fresh one of its own, dropped afterwards.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection, Executor, PgConnection};
use url::Url;

use super::environment;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A database that is dropped with this value.
#[derive(Debug)]
pub struct Database {
    name: String,
}

impl Database {
    /// An empty one.
    pub fn empty() -> Self {
        Self::create("")
    }

    /// A copy of another, which nobody may be connected to.
    pub fn copy_of(template: &Database) -> Self {
        Self::create(&format!("TEMPLATE {}", template.name))
    }

    fn create(clause: &str) -> Self {
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        execute(format!("CREATE DATABASE {name} {clause}"));
        Self { name }
    }

    /// Becomes what the other one is, under its own name: a restored backup. Nobody may be connected.
    pub fn become_copy_of(&self, backup: &Database) {
        execute(format!("DROP DATABASE {} WITH (FORCE)", self.name));
        execute(format!("CREATE DATABASE {} TEMPLATE {}", self.name, backup.name));
    }

    /// Changes something in it, beside whoever uses it.
    pub async fn execute(&self, sql: &str) {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        connection.execute(sql).await.unwrap();
    }

    /// Its address.
    pub fn url(&self) -> String {
        let mut url = Url::parse(&environment::postgres_url()).unwrap();
        url.set_path(&self.name);
        url.into()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = self.name.clone();
        execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    }
}

/// On a thread and runtime of its own, so that it also works while a test's runtime winds down.
fn execute(statement: String) {
    let run = async move {
        let mut connection = PgConnection::connect(&environment::postgres_url()).await.unwrap();
        connection.execute(statement.as_str()).await.unwrap();
    };
    let alone =
        move || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run);
    std::thread::spawn(alone).join().expect("PostgreSQL should do what it is asked");
}
