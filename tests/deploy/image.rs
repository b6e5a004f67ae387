//! Does `Containerfile` make an image of bases that are named, has everything that the program is built of, and in
//! which nobody who breaks in finds a shell or is root? Read, not built: that takes a network.

use std::path::Path;

use super::with;

const CONTAINERFILE: &str = include_str!("../../Containerfile");
const IGNORED: &str = include_str!("../../.containerignore");
const MANIFEST: &str = include_str!("../../Cargo.toml");
/// What the program is built of beside all that the manifest names.
const BUILT_OF: [&str; 4] = ["Cargo.toml", "Cargo.lock", "migrations", "templates"];

/// A `FROM` and what stands below it: instructions, and what follows each.
struct Stage {
    image: String,
    instructions: Vec<(String, String)>,
}

impl Stage {
    fn all(file: &str) -> Vec<Self> {
        let lines = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let whole = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
        let mut stages: Vec<Self> = Vec::new();
        for line in whole.lines() {
            let (instruction, rest) = line.split_once(char::is_whitespace).unwrap();
            if instruction == "FROM" {
                let image = rest.split_whitespace().next().unwrap().to_owned();
                stages.push(Self { image, instructions: Vec::new() });
            } else {
                let stage = stages.last_mut().unwrap();
                stage.instructions.push((instruction.to_owned(), rest.trim().to_owned()));
            }
        }
        stages
    }

    /// What follows each instruction of this name.
    fn each<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.instructions.iter().filter(move |(one, _)| one == name).map(|(_, rest)| rest.as_str())
    }

    /// What stands behind the image's name, which may begin with the port of a registry.
    fn tag(&self) -> Option<&str> {
        let name = self.image.rsplit('/').next()?.split('@').next()?;
        name.split_once(':').map(|(_, tag)| tag)
    }

    fn is_pinned(&self) -> bool {
        let is_tagged = self.tag().is_some_and(|tag| tag != "latest");
        is_tagged || self.image.contains("@sha256:") || self.image == "scratch"
    }

    /// Of the variants of such an image `debug` alone has a shell.
    fn has_no_shell(&self) -> bool {
        let is_debug = self.tag().is_some_and(|tag| tag.starts_with("debug"));
        self.image.starts_with("gcr.io/distroless/") && !is_debug || self.image == "scratch"
    }

    /// Who runs the program: the last that is named, or whom the image names.
    fn user(&self) -> &str {
        let of_the_image =
            if self.tag().is_some_and(|tag| tag.starts_with("nonroot")) { "nonroot" } else { "root" };
        let user = self.each("USER").last().unwrap_or(of_the_image);
        user.split(':').next().unwrap_or(user)
    }

    /// Whether signals reach the program itself: there is an entry point, and nothing is handed to a shell.
    fn is_started_directly(&self) -> bool {
        let is_list = |text: &str| serde_json::from_str::<Vec<String>>(text).is_ok();
        self.each("ENTRYPOINT").next().is_some()
            && self.each("ENTRYPOINT").chain(self.each("CMD")).all(is_list)
    }

    /// Whether its Rust is as new. `1` is the newest of all that begin so.
    fn has_rust(&self, wanted: &str) -> bool {
        let numbers =
            |text: &str| text.split('.').map_while(|number| number.parse().ok()).collect::<Vec<u32>>();
        let given = numbers(self.tag().and_then(|tag| tag.split('-').next()).unwrap_or_default());
        let wanted = numbers(wanted);
        !given.is_empty() && given[..] >= wanted[..wanted.len().min(given.len())]
    }

    /// Whether this comes in from outside, by itself or with what it is in.
    fn copies(&self, path: &str) -> bool {
        let outside = self.each("COPY").filter(|copy| !copy.contains("--from="));
        let mut sources = outside.flat_map(|copy| {
            let words: Vec<&str> = copy.split_whitespace().filter(|word| !word.starts_with("--")).collect();
            words[..words.len() - 1].to_vec()
        });
        let is_in = |source: &str| source == "." || is_below(path, source.trim_start_matches("./"));
        sources.any(is_in)
    }
}

fn is_below(path: &str, directory: &str) -> bool {
    Path::new(path).starts_with(directory.trim_end_matches(['/', '*']))
}

/// Every path below this that the manifest names: programs, tests, and crates beside it.
fn paths_in(value: &toml::Value) -> Vec<String> {
    let own = value.get("path").and_then(toml::Value::as_str).map(str::to_owned);
    let members = value.as_table().into_iter().flat_map(toml::Table::values);
    let below = members.chain(value.as_array().into_iter().flatten());
    below.flat_map(paths_in).chain(own).collect()
}

/// Cargo wants all of it, even what it does not build.
fn needed(manifest: &toml::Value) -> Vec<String> {
    let members = manifest["workspace"]["members"].as_array().unwrap().iter();
    let members = members.map(|member| member.as_str().unwrap().to_owned());
    let named = paths_in(manifest).into_iter().filter(|path| path != ".");
    members.chain(named).chain(BUILT_OF.map(str::to_owned)).collect()
}

/// What is wrong with it.
fn faults(containerfile: &str, ignored: &str) -> Vec<String> {
    let manifest: toml::Value = toml::from_str(MANIFEST).unwrap();
    let stages = Stage::all(containerfile);
    let (build, last) = (stages.first().unwrap(), stages.last().unwrap());
    let ignored = ignored.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let ignored: Vec<&str> = ignored.collect();
    let mut faults = Vec::new();
    let mut must = |is_so: bool, what: String| {
        if !is_so {
            faults.push(what);
        }
    };
    for stage in &stages {
        must(stage.is_pinned(), format!("{} is another one tomorrow", stage.image));
    }
    must(last.has_no_shell(), format!("{} has a shell", last.image));
    must(last.each("RUN").next().is_none(), "something is run where there is nothing to run it".to_owned());
    must(!["root", "0"].contains(&last.user()), format!("it runs as {}", last.user()));
    must(last.is_started_directly(), "a shell starts the program".to_owned());
    let rust = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    must(build.has_rust(rust), format!("{} is older than {rust}", build.image));
    for path in needed(&manifest) {
        let is_ignored = ignored.iter().any(|pattern| is_below(&path, pattern));
        must(build.copies(&path) && !is_ignored, format!("{path} does not come in"));
    }
    faults
}

#[test]
fn the_image_is_pinned_whole_and_without_shell_or_root() {
    assert_eq!(faults(CONTAINERFILE, IGNORED), Vec::<String>::new());
    // Each of these alone is noticed.
    for (old, new) in [
        ("rust:1-bookworm", "rust"),
        ("rust:1-bookworm", "rust:latest"),
        ("rust:1-bookworm", "rust:1.80-bookworm"),
        ("cc-debian12:nonroot", "cc-debian12"),
        ("cc-debian12:nonroot", "cc-debian12:debug-nonroot"),
        ("gcr.io/distroless/cc-debian12:nonroot", "docker.io/library/debian:12-slim"),
        ("VOLUME /data", "RUN true\nVOLUME /data"),
        ("VOLUME /data", "USER 0:0\nVOLUME /data"),
        ("ENTRYPOINT [\"/usr/local/bin/chancery\"]", "ENTRYPOINT /usr/local/bin/chancery"),
        ("CMD [\"serve\"]", "CMD serve"),
        ("COPY . .", "COPY Cargo.toml Cargo.lock ./\nCOPY src src"),
    ] {
        let worse = with(CONTAINERFILE, &[(old, new.to_owned())]);
        assert_ne!(faults(&worse, IGNORED), Vec::<String>::new(), "{new}");
    }
    for path in ["aggregates", "vendor/", "*"] {
        let ignored = format!("{IGNORED}\n{path}\n");
        assert_ne!(faults(CONTAINERFILE, &ignored), Vec::<String>::new(), "{path}");
    }
}
