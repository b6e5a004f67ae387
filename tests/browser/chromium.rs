//! How does a test get a browser? A chromedriver on a free port, and a Chromium with an empty profile.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

use crate::harness::process::free_port;
use crate::harness::{Directory, PASSWORD, environment};

/// A person at a screen; Chromium and its driver end with it.
pub struct Chromium {
    pub client: Client,
    driver: Child,
    profile: Directory,
}

impl Chromium {
    pub async fn start(width: u32, dark: bool) -> Self {
        let (port, profile) = (free_port(), Directory::new());
        let mut command = Command::new(environment::chromedriver());
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = command.spawn().unwrap();
        let mut arguments = vec![
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--window-size={width},1000"),
            format!("--user-data-dir={}", profile.text()),
        ];
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let mut options = json!({ "binary": environment::chromium(), "args": arguments });
        // A window has a least width that phones are narrower than.
        if width < 500 {
            options["mobileEmulation"] = json!({ "deviceMetrics": { "width": width, "height": 780, "pixelRatio": 1.0, "mobile": true } });
        }
        let capabilities = json!({
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let client = connect(port, &capabilities).await;
        Self { client, driver, profile }
    }

    pub async fn go(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    pub async fn find(&self, css: &str) -> Element {
        self.client.find(Locator::Css(css)).await.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    pub async fn fill(&self, name: &str, text: &str) {
        let field = self.find(&format!("[name={name}]")).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub async fn value(&self, name: &str) -> String {
        self.find(&format!("[name={name}]")).await.prop("value").await.unwrap().unwrap()
    }

    pub async fn choose(&self, name: &str, value: &str) {
        self.find(&format!("select[name={name}]")).await.select_by_value(value).await.unwrap();
    }

    /// Presses the button of the page's own form, and waits for the page it leads to: a click only
    /// promises that the browser has set out.
    pub async fn press(&self, css: &str) {
        let button = self.find(css).await;
        self.leave_by(async || button.click().await.unwrap()).await;
    }

    /// Does what leads to another page, and waits for that.
    pub async fn leave_by(&self, action: impl AsyncFn()) {
        self.client.execute("window.left = false", Vec::new()).await.unwrap();
        action().await;
        let arrived = "return window.left === undefined && document.readyState === 'complete'";
        for _ in 0..500 {
            // Between two pages there is nothing to ask.
            let answer = self.client.execute(arrived, Vec::new()).await;
            if answer.is_ok_and(|answer| answer.as_bool() == Some(true)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it led nowhere");
    }

    pub async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    pub async fn text(&self) -> String {
        self.find("body").await.text().await.unwrap()
    }

    pub async fn log_in(&self, username: &str) {
        self.fill("username", username).await;
        self.fill("password", PASSWORD).await;
        self.press("main form button").await;
    }

    /// What the console said: violations of the content security policy and missing files are here.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.client.issue_cmd(Log).await.unwrap();
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// How many pixels the page is wider than the window.
    pub async fn overflow(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.client.execute(script, Vec::new()).await.unwrap().as_i64().unwrap()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let script = format!("pkill -9 -f -- '{}'", self.profile.text());
        let _ = Command::new("sh").args(["-c", &script]).status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

async fn connect(port: u16, capabilities: &serde_json::Value) -> Client {
    let capabilities = capabilities.as_object().unwrap();
    let mut last = None;
    for _ in 0..150 {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        match builder.capabilities(capabilities.clone()).connect(&format!("http://127.0.0.1:{port}")).await {
            Ok(client) => return client,
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no browser: {last:?}");
}

/// chromedriver's log command, which is not in the standard.
#[derive(Debug)]
struct Log;

impl fantoccini::wd::WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _url: &url::Url) -> (axum::http::Method, Option<String>) {
        (axum::http::Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}
