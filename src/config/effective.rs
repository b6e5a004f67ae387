//! What is in force, in words and without secrets?
//!
//! For `chancery config` and for the event that records a changed configuration.

use std::collections::BTreeMap;

use super::value::{show_duration, show_size};
use super::{Config, Database, LogFormat, RootSecretSource, Scope};

impl Config {
    /// Every setting by its key; a setting without a value is empty, a secret is `[secret]`.
    #[must_use]
    pub fn effective(&self) -> BTreeMap<String, String> {
        let parts = [self.serving(), self.storage(), self.in_lifetimes(), self.in_limits()];
        parts.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn serving(&self) -> Vec<(&'static str, String)> {
        let file = |path: &std::path::PathBuf| path.display().to_string();
        let format = match self.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        vec![
            ("config", self.file.as_ref().map(file).unwrap_or_default()),
            ("listen", join(&self.listen)),
            ("metrics-listen", join(&self.metrics_listen)),
            ("drain-delay", show_duration(self.drain_delay)),
            ("issuer", self.issuer.to_string()),
            // Whether the risk is taken, not whether it was allowed: only that changes anything.
            ("allow-insecure-issuer", (!self.issuer.is_https() && !self.issuer.is_loopback()).to_string()),
            ("trusted-proxies", join(&self.trusted_proxies)),
            ("tls-cert", self.tls.as_ref().map(|tls| file(&tls.cert)).unwrap_or_default()),
            ("tls-key", self.tls.as_ref().map(|tls| file(&tls.key)).unwrap_or_default()),
            ("log", self.log.filter.clone()),
            ("log-format", format.to_owned()),
            ("otlp-endpoint", self.traces.endpoint.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("otlp-percent", self.traces.percent.to_string()),
            ("scopes", self.scopes.iter().map(show_scope).collect::<Vec<_>>().join(", ")),
            ("resources", join(&self.resources)),
        ]
    }

    fn storage(&self) -> Vec<(&'static str, String)> {
        let database_url = match &self.database {
            Database::Embedded(_) => String::new(),
            Database::Postgres(url) => url.to_string(),
        };
        let (secret_file, secret) = match &self.root_secret {
            RootSecretSource::File(path) => (path.display().to_string(), String::new()),
            RootSecretSource::Given(_) => (String::new(), "[secret]".to_owned()),
        };
        vec![
            ("data-dir", self.data_dir.display().to_string()),
            ("checkpoint-dir", self.checkpoint_dir.display().to_string()),
            ("database-url", database_url),
            ("database-deadline", show_duration(self.database_deadline)),
            ("lease", show_duration(self.lease)),
            ("no-migrate", (!self.migrate).to_string()),
            ("root-secret-file", secret_file),
            ("root-secret", secret),
        ]
    }

    fn in_lifetimes(&self) -> Vec<(&'static str, String)> {
        let lifetimes = self.lifetimes;
        [
            ("code-lifetime", lifetimes.code),
            ("access-token-lifetime", lifetimes.access_token),
            ("refresh-token-idle-lifetime", lifetimes.refresh_token_idle),
            ("refresh-token-lifetime", lifetimes.refresh_token),
            ("session-idle-lifetime", lifetimes.session_idle),
            ("session-lifetime", lifetimes.session),
            ("login-form-lifetime", lifetimes.login_form),
            ("consent-form-lifetime", lifetimes.consent_form),
        ]
        .map(|(key, lifetime)| (key, show_duration(lifetime)))
        .to_vec()
    }

    fn in_limits(&self) -> Vec<(&'static str, String)> {
        let limits = self.limits;
        vec![
            ("max-connections", limits.connections.to_string()),
            ("max-body", show_size(limits.body)),
            ("requests-per-address", limits.requests_per_address.to_string()),
            ("requests-per-client", limits.requests_per_client.to_string()),
            ("admission-queue", limits.admission_queue.to_string()),
            ("aggregate-cache", limits.aggregate_cache.to_string()),
            ("row-cache", limits.row_cache.to_string()),
            ("login-failures-per-account", limits.login_failures_per_account.to_string()),
            ("login-failures-per-address", limits.login_failures_per_address.to_string()),
            ("argon2-concurrency", limits.argon2_concurrency.to_string()),
        ]
    }
}

fn join<Item: ToString>(items: &[Item]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn show_scope(scope: &Scope) -> String {
    let default = if scope.default { ", default" } else { "" };
    format!("{} ({}{default})", scope.name, scope.description)
}
