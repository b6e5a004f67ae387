//! What does Chancery look like? Writes every page with its sample contexts to `target/pages`,
//! with an index, to be opened in any browser: `cargo run --example pages`.
//!
//! The README's picture is one of them: `chromium --headless --hide-scrollbars --window-size=1280,1190
//! --screenshot=templates/timeline.png target/pages/application_detail.html`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use chancery::templates::{STYLE, Templates, paths, samples};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Path::new("target/pages");
    fs::create_dir_all(directory)?;
    fs::write(directory.join("style.css"), STYLE)?;
    let mut index = String::from("<!doctype html>\n<title>Every page of Chancery</title>\n<ul>\n");
    let rendered = samples::render_all(&Templates::new()?)?;
    for page in &rendered {
        let html = page.html.replace(paths::STYLE, "style.css");
        fs::write(directory.join(format!("{}.html", page.name)), html)?;
        writeln!(index, "<li><a href=\"{0}.html\">{0}</a> ({1})</li>", page.name, page.template)?;
    }
    fs::write(directory.join("index.html"), index + "</ul>\n")?;
    println!("{} pages are in {}; open index.html", rendered.len(), directory.display());
    Ok(())
}
