//! How do tests read a page? As the start tags it is made of.

use std::collections::BTreeMap;

/// A start tag and its attributes.
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) attributes: BTreeMap<String, String>,
}

impl Tag {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// Start tags, in order. Our own templates are regular enough: attributes in double quotes, and
/// no `<` or `>` inside them.
pub(super) fn tags(html: &str) -> Vec<Tag> {
    html.split('<').skip(1).filter(|text| !text.starts_with(['/', '!'])).map(tag).collect()
}

fn tag(text: &str) -> Tag {
    let inside = text.split_once('>').unwrap().0.trim_end_matches('/');
    let (name, mut rest) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
    let mut attributes = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let attribute = rest[..end].to_owned();
        rest = &rest[end..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let (text, after) = quoted.split_once('"').unwrap();
            value = text.to_owned();
            rest = after;
        }
        assert!(attributes.insert(attribute.clone(), value).is_none(), "{attribute} twice in <{inside}>");
    }
    Tag { name: name.to_owned(), attributes }
}
