//! Which form is on this page, and what would a browser send? (HTML Living Standard §4.10)
//!
//! Reads the HTML that our own templates write: quoted attributes, no scripts.

/// A form as a browser sees it.
#[derive(Debug, Clone, Default)]
pub struct Form {
    /// Where it is posted to.
    pub action: String,
    /// What would be sent, in order of the page.
    pub fields: Vec<(String, String)>,
    buttons: Vec<Button>,
}

#[derive(Debug, Clone)]
struct Button {
    label: String,
    pair: Option<(String, String)>,
}

struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, String)>,
    /// What stands behind the tag.
    rest: &'a str,
}

impl Form {
    /// All forms of a page.
    pub fn all(html: &str) -> Vec<Self> {
        let mut forms = Vec::new();
        for tag in tags(html).filter(|tag| tag.name == "form") {
            let inside = tag.rest.split("</form>").next().unwrap_or_default();
            forms.push(Self::read(tag.get("action").unwrap_or_default(), inside));
        }
        forms
    }

    fn read(action: String, html: &str) -> Self {
        let mut form = Self { action, ..Self::default() };
        let mut select: Option<(String, Option<String>)> = None;
        for tag in tags(html) {
            let name = tag.get("name");
            match (tag.name, name) {
                ("input", Some(name)) => form.read_input(name, &tag),
                ("textarea", Some(name)) => {
                    let text = tag.rest.split("</textarea>").next().unwrap_or_default();
                    let text = text.strip_prefix('\n').unwrap_or(text);
                    form.fields.push((name, unescape(text)));
                }
                ("select", Some(name)) => select = Some((name, None)),
                ("option", _) => read_option(&mut select, &tag),
                ("/select", _) => {
                    form.fields.extend(select.take().map(|(name, value)| (name, value.unwrap_or_default())));
                }
                ("button", name) => form.read_button(name, &tag),
                _ => {}
            }
        }
        form
    }

    fn read_input(&mut self, name: String, tag: &Tag<'_>) {
        let is_box = matches!(tag.get("type").as_deref(), Some("checkbox" | "radio"));
        if is_box && !tag.has("checked") {
            return;
        }
        let usual = if is_box { "on" } else { "" };
        self.fields.push((name, tag.get("value").unwrap_or_else(|| usual.to_owned())));
    }

    fn read_button(&mut self, name: Option<String>, tag: &Tag<'_>) {
        let label = text_of(tag.rest.split("</button>").next().unwrap_or_default());
        let value = tag.get("value").unwrap_or_default();
        self.buttons.push(Button { label, pair: name.map(|name| (name, value)) });
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The value of a field that must be there.
    #[track_caller]
    pub fn value(&self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| panic!("no field {name} in {:?}", self.fields)).to_owned()
    }

    /// Types into a field, ticks a box, or adds a field that is not on the page.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        match self.fields.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Leaves a field out, or unticks a box.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self
    }

    /// Chooses the button whose label begins like this.
    #[track_caller]
    pub fn press(mut self, label: &str) -> Self {
        let button = self.buttons.iter().find(|button| button.label.starts_with(label));
        let button = button.unwrap_or_else(|| panic!("no button {label:?} among {:?}", self.buttons));
        self.fields.extend(button.pair.clone());
        self
    }
}

fn read_option(select: &mut Option<(String, Option<String>)>, tag: &Tag<'_>) {
    if let Some((_, chosen)) = select
        && (chosen.is_none() || tag.has("selected"))
    {
        *chosen = tag.get("value");
    }
}

impl Tag<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(attribute, _)| *attribute == name).map(|(_, value)| unescape(value))
    }

    fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(attribute, _)| *attribute == name)
    }
}

fn tags(html: &str) -> impl Iterator<Item = Tag<'_>> {
    let starts = html.match_indices('<').map(|(start, _)| &html[start + 1..]);
    starts.filter(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')).map(tag)
}

fn tag(html: &str) -> Tag<'_> {
    let end_of_name = html.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(html.len());
    let (name, mut rest) = html.split_at(end_of_name);
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with('>') || rest.starts_with("/>") {
            break;
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '=' || c == '>').unwrap_or(rest.len());
        let (attribute, after) = rest.split_at(end);
        let mut value = "";
        rest = after;
        if let Some(quoted) = after.strip_prefix("=\"") {
            let (inside, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
            value = inside;
            rest = behind;
        }
        attributes.push((attribute, value.to_owned()));
    }
    Tag { name, attributes, rest: rest.split_once('>').map_or("", |(_, behind)| behind) }
}

/// The text a reader sees, blanks folded.
pub fn text_of(html: &str) -> String {
    let mut text = String::new();
    for piece in html.split('<').enumerate() {
        let visible = match piece {
            (0, piece) => piece,
            (_, piece) => piece.split_once('>').map_or("", |(_, behind)| behind),
        };
        text.push(' ');
        text.push_str(visible);
    }
    unescape(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every `href` of the page that leads to this server.
pub fn links(html: &str) -> Vec<String> {
    let hrefs = tags(html).filter(|tag| tag.name == "a").filter_map(|tag| tag.get("href"));
    hrefs.filter(|href| href.starts_with('/')).collect()
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        let (character, length) = entity(rest);
        plain.push(character);
        rest = &rest[length..];
    }
    plain + rest
}

fn entity(text: &str) -> (char, usize) {
    let named = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"')];
    if let Some((name, character)) = named.into_iter().find(|(name, _)| text.starts_with(name)) {
        return (character, name.len());
    }
    let number = text.strip_prefix("&#").and_then(|rest| rest.split_once(';')).map(|(number, _)| number);
    let code = number.and_then(|number| match number.strip_prefix('x') {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok(),
        None => number.parse().ok(),
    });
    match (code.and_then(char::from_u32), number) {
        (Some(character), Some(number)) => (character, number.len() + 3),
        _ => ('&', 1),
    }
}
