//! Is every page sound? Reads every sample of every page as a browser, a screen reader and the
//! content security policy would.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::samples::{self, Rendered, Sample};
use super::scan::{Tag, tags};
use super::*;

fn pages() -> Vec<Rendered> {
    samples::render_all(&Templates::new().unwrap()).unwrap()
}

fn count(tags: &[Tag], name: &str) -> usize {
    tags.iter().filter(|tag| tag.name == name).count()
}

fn ids(tags: &[Tag]) -> BTreeSet<&str> {
    tags.iter().filter_map(|tag| tag.attribute("id")).collect()
}

#[test]
fn every_page_has_a_language_a_title_one_h1_and_its_landmarks() {
    for Rendered { name, html, .. } in pages() {
        assert!(html.trim_start().starts_with("<!doctype html>"), "{name}");
        let tags = tags(&html);
        let root = tags.iter().find(|tag| tag.name == "html").unwrap();
        assert_eq!(root.attribute("lang"), Some("en"), "{name}");
        for landmark in ["title", "h1", "header", "main", "footer"] {
            assert_eq!(count(&tags, landmark), 1, "{name}: {landmark}");
        }
        assert!(count(&tags, "nav") >= 1, "{name}");
        assert!(html.contains("href=\"#content\""), "{name} lets the keyboard skip the navigation");
    }
}

#[test]
fn headings_never_skip_a_level() {
    for Rendered { name, html, .. } in pages() {
        let mut level = 0;
        for tag in tags(&html) {
            let Some(digit) = tag.name.strip_prefix('h').and_then(|rest| rest.parse::<u8>().ok()) else {
                continue;
            };
            assert!(digit <= level + 1, "{name}: h{digit} follows h{level}");
            level = digit;
        }
    }
}

#[test]
fn every_control_has_a_label() {
    for Rendered { name, html, .. } in pages() {
        let tags = tags(&html);
        let labelled: BTreeSet<&str> =
            tags.iter().filter(|tag| tag.name == "label").filter_map(|tag| tag.attribute("for")).collect();
        let controls = tags.iter().filter(|tag| {
            matches!(tag.name.as_str(), "input" | "select" | "textarea")
                && tag.attribute("type") != Some("hidden")
        });
        for control in controls {
            let by_label = control.attribute("id").is_some_and(|id| labelled.contains(id));
            assert!(
                by_label || control.attribute("aria-label").is_some(),
                "{name}: {:?} has no label",
                control.attribute("name")
            );
        }
    }
}

#[test]
fn every_reference_inside_a_page_leads_somewhere() {
    for Rendered { name, html, .. } in pages() {
        let tags = tags(&html);
        let ids = ids(&tags);
        let all = tags.iter().filter(|tag| tag.attribute("id").is_some()).count();
        assert_eq!(all, ids.len(), "{name} has an id twice");
        for tag in &tags {
            for attribute in ["aria-describedby", "aria-labelledby", "for"] {
                for id in tag.attribute(attribute).unwrap_or_default().split_whitespace() {
                    assert!(ids.contains(id), "{name}: {attribute} names {id}");
                }
            }
            if let Some(id) = tag.attribute("href").and_then(|href| href.strip_prefix('#')) {
                assert!(ids.contains(id), "{name}: a link leads to #{id}");
            }
        }
    }
}

#[test]
fn errors_are_tied_to_their_fields() {
    let mut invalid = 0;
    for Rendered { name, html, .. } in pages() {
        let tags = tags(&html);
        for tag in tags.iter().filter(|tag| tag.attribute("aria-invalid").is_some()) {
            let described = tag.attribute("aria-describedby").unwrap_or_default();
            let tied = described.split(' ').any(|id| id.starts_with("error_") || id == "problem");
            assert!(tied, "{name}: {:?}", tag.attribute("name"));
            invalid += 1;
        }
        let messages = tags.iter().filter(|tag| tag.attribute("class") == Some("field-errors"));
        for message in messages {
            let id = message.attribute("id").unwrap();
            let used = tags.iter().any(|tag| {
                tag.attribute("aria-invalid") == Some("true")
                    && tag.attribute("aria-describedby").is_some_and(|ids| ids.split(' ').any(|it| it == id))
            });
            assert!(used, "{name}: nothing is described by {id}");
        }
    }
    assert!(invalid >= 8, "the samples show errors");
}

#[test]
fn pages_need_no_script_no_inline_style_and_no_handler() {
    for Rendered { name, html, .. } in pages() {
        for tag in tags(&html) {
            assert!(
                !matches!(tag.name.as_str(), "script" | "style" | "iframe" | "object" | "embed"),
                "{name}"
            );
            for (attribute, value) in &tag.attributes {
                assert!(!attribute.starts_with("on") && attribute != "style", "{name}: {attribute}");
                assert!(!value.trim_start().starts_with("javascript:"), "{name}: {attribute}");
            }
            if tag.name == "link" {
                let href = tag.attribute("href").unwrap();
                assert!(href == paths::STYLE || href.starts_with("data:image/svg+xml,"), "{name}: {href}");
            }
        }
    }
}

#[test]
fn every_form_is_posted_with_the_form_token() {
    for Rendered { name, html, .. } in pages() {
        for form in html.split("<form ").skip(1) {
            let (form, _) = form.split_once("</form>").unwrap();
            assert!(form.starts_with("method=\"post\" action=\"/"), "{name}");
            assert_eq!(form.matches("name=\"csrfmiddlewaretoken\"").count(), 1, "{name}");
        }
    }
}

#[test]
fn every_template_is_embedded_and_every_page_has_a_sample() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let embedded: BTreeSet<&str> = embedded::TEMPLATES.iter().map(|(name, _)| *name).collect();
    let mut found = BTreeSet::from(["base.html".to_owned()]);
    for folder in ["components", "pages"] {
        for file in fs::read_dir(root.join(folder)).unwrap() {
            found.insert(format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap()));
        }
    }
    assert_eq!(found, embedded.iter().map(|&name| name.to_owned()).collect());
    let sampled: BTreeSet<&str> = pages().iter().map(|page| page.template).collect();
    let wanted: BTreeSet<&str> = embedded.into_iter().filter(|name| name.starts_with("pages/")).collect();
    assert_eq!(sampled, wanted);
}

#[test]
fn no_template_switches_escaping_off() {
    for (name, source) in embedded::TEMPLATES {
        let dense: String = source.chars().filter(|c| !c.is_whitespace()).collect();
        assert!(!dense.contains("|safe"), "{name}");
        assert!(!dense.contains("autoescape"), "{name}");
    }
}

#[test]
fn what_people_type_is_escaped() {
    let nasty = "\"><script>alert('&#x2f;')</script>";
    let mut sample = samples_of::<consent::Consent>();
    sample.page.application = nasty.into();
    sample.page.client_id = nasty.into();
    sample.page.scopes = vec![components::ScopeLine::new(nasty, nasty)];
    sample.page.redirect = consent::RedirectTarget::of(nasty);
    sample.page.switch_account = nasty.into();
    sample.page.request = nasty.into();
    sample.chrome.username = Some(nasty.into());
    let html = Templates::new().unwrap().render(&sample.chrome, &sample.page).unwrap();
    assert!(!html.contains("<script"));
    assert!(html.contains("&quot;&gt;&lt;script&gt;alert(&#x27;&amp;#x2f;&#x27;)&lt;/script&gt;"));
}

#[test]
fn a_value_that_a_template_misses_is_an_error() {
    #[derive(Serialize)]
    struct Empty {}
    impl Page for Empty {
        const TEMPLATE: &'static str = "pages/consent.html";
        fn title(&self) -> String {
            String::new()
        }
        fn samples() -> Vec<Sample<Self>> {
            Vec::new()
        }
    }
    let chrome = samples_of::<consent::Consent>().chrome;
    let refused = Templates::new().unwrap().render(&chrome, &Empty {});
    assert!(matches!(refused, Err(TemplateError::Render { template: "pages/consent.html", .. })));
}

#[test]
fn the_registration_form_has_the_seed_names_in_their_order() {
    let page = pages().into_iter().find(|page| page.name == "application_register_superuser").unwrap();
    let names: Vec<String> = tags(&page.html)
        .iter()
        .filter(|tag| matches!(tag.name.as_str(), "input" | "select" | "textarea"))
        .filter_map(|tag| tag.attribute("name").map(str::to_owned))
        .collect();
    assert_eq!(
        names,
        [
            "csrfmiddlewaretoken",
            "name",
            "client_id",
            "client_secret",
            "hash_client_secret",
            "client_type",
            "authorization_grant_type",
            "redirect_uris",
            "post_logout_redirect_uris",
            "allowed_origins",
            "algorithm",
            "scopes_offered",
            "scope.read",
            "scope.write",
            "require_pkce",
            "ask_always",
            "access_token_lifetime_seconds",
            "retry_window_seconds",
            "resources",
            "application_type",
            "skip_authorization",
            "introspect_everything",
            "initial",
        ]
    );
    assert!(page.html.contains("<h1>Register a new application</h1>"));
    assert!(page.html.contains(">Save</button>"));
}

#[test]
fn ordinary_users_are_not_offered_what_superusers_may_grant() {
    let page = pages().into_iter().find(|page| page.name == "application_register").unwrap();
    assert!(!page.html.contains("introspect_everything"));
    assert!(!page.html.contains("skip_authorization"));
}

#[test]
fn the_login_page_does_not_tell_which_of_name_and_password_was_wrong() {
    let page = pages().into_iter().find(|page| page.name == "login_wrong").unwrap();
    let lower = page.html.to_lowercase();
    for telling in ["wrong password", "no such user", "unknown user", "does not exist", "incorrect password"]
    {
        assert!(!lower.contains(telling), "{telling}");
    }
    let password =
        tags(&page.html).into_iter().find(|tag| tag.attribute("name") == Some("password")).unwrap();
    assert_eq!(password.attribute("value"), None);
}

#[test]
fn a_long_id_is_whole_in_the_page_and_short_to_the_eye() {
    let page = pages().into_iter().find(|page| page.name == "application_detail").unwrap();
    let id = samples::CLIENT_ID;
    let (head, middle, tail) = (&id[..6], &id[6..34], &id[34..]);
    let shown = format!("title=\"{id}\">{head}<span class=\"id-middle\">{middle}</span>{tail}</code>");
    assert!(page.html.contains(&shown));
}

fn samples_of<C: Page>() -> Sample<C> {
    C::samples().remove(0)
}
