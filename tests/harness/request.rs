//! What is sent, and what comes back?

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use url::form_urlencoded;

use super::form::{Form, text_of};

/// A request that can still be changed.
#[derive(Debug, Clone)]
pub struct Request {
    client: reqwest::Client,
    method: Method,
    url: String,
    /// Sent in the body of a POST, in the query of anything else.
    form: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<(String, Vec<u8>)>,
}

impl Request {
    pub fn new(client: &reqwest::Client, method: &str, url: String) -> Self {
        let method = method.parse().unwrap();
        Self { client: client.clone(), method, url, form: Vec::new(), headers: Vec::new(), body: None }
    }

    /// Sets a parameter, in the place it has.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        match self.form.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.form.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Adds a parameter, even if it is there already.
    pub fn add(mut self, name: &str, value: &str) -> Self {
        self.form.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.form.retain(|(field, _)| field != name);
        self
    }

    pub fn pairs(mut self, pairs: &[(String, String)]) -> Self {
        self.form.extend_from_slice(pairs);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self
    }

    pub fn with_header(self, name: &str, value: &str) -> Self {
        self.without_header(name).header(name, value)
    }

    /// `client_id` and `client_secret` in the header instead of the body (RFC 6749 §2.3.1).
    pub fn basic(self, id: &str, secret: &str) -> Self {
        let credentials = STANDARD.encode(format!("{id}:{secret}"));
        self.without("client_id")
            .without("client_secret")
            .with_header("authorization", &format!("Basic {credentials}"))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.with_header("authorization", &format!("Bearer {token}"))
    }

    /// A body other than the form.
    pub fn body(mut self, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Some((content_type.to_owned(), bytes.into()));
        self
    }

    /// With something after the path, such as a query.
    pub fn at(mut self, more: &str) -> Self {
        self.url.push_str(more);
        self
    }

    /// Path and query of where it goes.
    pub fn path(&self) -> String {
        let url = url::Url::parse(&self.url).unwrap();
        url[url::Position::BeforePath..].to_owned()
    }

    /// The same to another server.
    pub fn to(self, base: &str) -> Self {
        Self { url: format!("{base}{}", self.path()), ..self }
    }

    /// The form as it would be sent.
    pub fn encoded(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.form).finish()
    }

    pub async fn send(self) -> Answer {
        let shown = format!("{} {}", self.method, self.url);
        let response = self.try_send().await;
        let response = response.unwrap_or_else(|error| panic!("{shown}: {error:?}"));
        Answer::read(response, shown).await
    }

    /// For requests the server may break off.
    pub async fn try_send(self) -> Result<reqwest::Response, reqwest::Error> {
        let encoded = self.encoded();
        let has_body = self.method == Method::POST || self.method == Method::PUT;
        let url = if has_body || encoded.is_empty() { self.url } else { format!("{}?{encoded}", self.url) };
        let mut request = self.client.request(self.method, url);
        if let Some((content_type, bytes)) = self.body {
            request = request.header("content-type", content_type).body(bytes);
        } else if has_body {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(encoded);
        }
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.send().await
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Which request it answers, for messages.
    pub to: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn read(response: reqwest::Response, to: String) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_default();
        Self { to, status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Only if it came to its end.
    pub async fn whole(response: reqwest::Response, to: String) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await?;
        Ok(Self { to, status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Fails the test unless the status is this one.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// A string member of the JSON answer.
    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        let json = self.json();
        json[member].as_str().unwrap_or_else(|| panic!("no text {member} in {self:#?}")).to_owned()
    }

    /// The member `error`, or nothing.
    pub fn error(&self) -> String {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        json["error"].as_str().unwrap_or_default().to_owned()
    }

    /// The value of a metric, by its name and labels as they are shown.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let value = self.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{}", self.body)).parse().unwrap()
    }

    /// Where the browser is sent.
    #[track_caller]
    pub fn location(&self) -> String {
        self.header("location").unwrap_or_else(|| panic!("no Location in {self:#?}")).to_owned()
    }

    /// A parameter of the place the browser is sent to; repeated ones fail the test.
    #[track_caller]
    pub fn sent(&self, name: &str) -> Option<String> {
        let location = self.location();
        let query = location.split_once('?').map_or("", |(_, query)| query);
        let values: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .filter(|(field, _)| field == name)
            .map(|(_, v)| v.into_owned())
            .collect();
        assert!(values.len() < 2, "{name} is repeated in {location}");
        values.into_iter().next()
    }

    /// The authorization code in the redirect.
    #[track_caller]
    pub fn code(&self) -> String {
        self.sent("code").unwrap_or_else(|| panic!("no code in {self:#?}"))
    }

    /// The form posted to `action` on this page.
    #[track_caller]
    pub fn form(&self, action: &str) -> Form {
        let forms = Form::all(&self.body);
        let found = forms.iter().find(|form| form.action == action).cloned();
        found.unwrap_or_else(|| {
            panic!("no form for {action} in {} ({}):\n{}", self.to, self.status, self.body)
        })
    }

    /// What a reader sees.
    pub fn page_text(&self) -> String {
        let main = self.body.split_once("<main").map_or(self.body.as_str(), |(_, main)| main);
        let main = main.split_once("</main>").map_or(main, |(main, _)| main);
        text_of(main.split_once('>').map_or(main, |(_, inside)| inside))
    }

    /// Fails the test unless a reader sees this.
    #[track_caller]
    pub fn shows(self, text: &str) -> Self {
        let seen = self.page_text();
        assert!(seen.contains(text), "{} ({}) does not show {text:?}:\n{seen}", self.to, self.status);
        self
    }

    /// The reference shown to the person, which the event of the refusal holds, too.
    #[track_caller]
    pub fn reference(&self) -> String {
        let text = self.page_text();
        let (_, reference) = text.rsplit_once("Reference ").unwrap_or_else(|| panic!("no reference: {text}"));
        reference.split_whitespace().next().unwrap().to_owned()
    }
}
