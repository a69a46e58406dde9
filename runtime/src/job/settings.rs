//! A section of the job file as a kind of source or sink reads it.

use std::path::PathBuf;

use headwater_clocks::Span;
use headwater_connectors::settings::{self, Choice, Property, Settings};

use super::raw::{Entry, Kind};
use super::section::{Choices, Context, Section, any_text};
use super::variables::Text;
use super::{Named, paths};
use crate::base::fault::At;

/// A section as a kind of source or sink reads it.
pub struct SectionSettings<'s, 'c, 'x, 'a> {
    pub cx: &'c mut Context<'x>,
    pub section: &'s Section<'a>,
}

fn told(text: &Text, at: At) -> settings::Text {
    settings::Text { text: text.text.clone(), at, filled: text.filled.clone() }
}

impl Settings for SectionSettings<'_, '_, '_, '_> {
    fn what(&self) -> String {
        self.section.what.clone()
    }

    fn at(&self) -> At {
        self.section.at
    }

    fn has(&self, key: &str) -> bool {
        self.section.get(key).is_some()
    }

    fn error(&mut self, at: At, message: String) {
        self.cx.error(at, message);
    }

    fn missing(&mut self, key: &str, hint: &str) {
        self.section.missing(self.cx, key, hint);
    }

    fn secret(&mut self, text: &str) {
        self.cx.secrets.push(text.into());
    }

    fn any_text(&mut self, key: &str) -> Option<settings::Text> {
        let node = &self.section.get(key)?.value;
        Some(told(any_text(self.cx, &format!("`{key}`"), node)?, node.at))
    }

    fn text(&mut self, key: &str) -> Option<settings::Text> {
        self.section.text(self.cx, key).map(|(text, at)| told(text, at))
    }

    fn list(&mut self, key: &str) -> Option<Vec<settings::Text>> {
        let named = |named: Named| settings::Text { text: named.text, at: named.at, filled: vec![] };
        self.section.list(self.cx, key).map(|list| list.into_iter().map(named).collect())
    }

    fn integer(&mut self, key: &str, least: i64, most: i64) -> Option<i64> {
        self.section.integer(self.cx, key, least, most)
    }

    fn flag(&mut self, key: &str) -> bool {
        self.section.flag(self.cx, key)
    }

    fn duration(&mut self, key: &str, least: Span) -> Option<Span> {
        self.section.duration(self.cx, key, least)
    }

    fn section(&mut self, key: &str, keys: &[&str], read: &mut dyn FnMut(&mut dyn Settings)) {
        let Some(entry) = self.section.get(key) else { return };
        let what = format!("`{key}` of {}", self.section.what);
        if let Some(section) = Section::open(self.cx, what, entry, keys) {
            read(&mut SectionSettings { cx: self.cx, section: &section });
        }
    }

    fn path(&mut self, key: &str) -> Option<PathBuf> {
        paths::read(self.cx, self.section, key, paths::local)
    }

    fn glob(&mut self, key: &str) -> Option<String> {
        paths::read(self.cx, self.section, key, paths::glob)
    }

    fn properties(&mut self, key: &str) -> Vec<Property> {
        let mut found = Vec::new();
        if let Some(entry) = self.section.get(key) {
            let what = format!("`{key}` of {}", self.section.what);
            for entry in Section::any(self.cx, what, entry).iter().flat_map(|table| table.entries()) {
                property(self.cx, "", entry, &mut found);
            }
        }
        found
    }

    fn choose(&mut self, tag: &'static str, default: Option<&'static str>, choices: &[Choice]) -> Option<usize> {
        self.section.choice(self.cx, &Choices { tag, default, choices, common: &[] })
    }
}

/// Without quotes around its name, TOML makes tables of a property: `ssl.key.pem` is a table `ssl`.
fn property(cx: &mut Context, prefix: &str, entry: &Entry, found: &mut Vec<Property>) {
    let name = format!("{prefix}{}", entry.name);
    let at = entry.value.at;
    let value = match &entry.value.kind {
        Kind::Table(table) => {
            let prefix = format!("{name}.");
            return table.entries.iter().for_each(|entry| property(cx, &prefix, entry, found));
        }
        Kind::String(text) => told(text, at),
        Kind::Integer(integer) => settings::Text { text: integer.to_string(), at, filled: vec![] },
        Kind::Float(float) => settings::Text { text: float.to_string(), at, filled: vec![] },
        Kind::Boolean(flag) => settings::Text { text: flag.to_string(), at, filled: vec![] },
        Kind::Broken => return,
        other => {
            let found = other.describe();
            let message = format!("the property `{name}` must be a string, a number or a boolean, not {found}");
            return cx.error(at, message);
        }
    };
    found.push(Property { name, at: entry.at, value });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::fault::Faults;
    use crate::job::raw;

    /// What is read of a section that has a flag, a duration and a section of its own; and the faults that are told.
    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let mut faults = Faults::new("job.toml");
        let raw = raw::read(text, &|_| None, &mut faults);
        let mut cx = Context { dir: Path::new("/"), torn: raw.torn, faults, secrets: vec![] };
        let section = Section::root(&mut cx, &raw.root, &["flag", "wait", "registry"]);
        let mut settings = SectionSettings { cx: &mut cx, section: &section };
        let mut found =
            vec![format!("{} {:?}", settings.flag("flag"), settings.duration("wait", Span::from_us(1)).map(Span::us))];
        settings.section("registry", &["url", "flag"], &mut |registry| {
            let url = registry.required("url", "like \"http://localhost\"").text;
            found.push(format!("{}: {url} {}", registry.what(), registry.flag("flag")));
        });
        (found, cx.faults.faults.iter().map(|fault| fault.message.clone()).collect())
    }

    #[test]
    fn flags_durations_and_sections_within_sections() {
        let of_registry = "`registry` of the job:";
        for (text, found, faults) in [
            ("", vec!["false None"], vec![]),
            ("flag = true\nwait = \"1h30m\"", vec!["true Some(5400000000)"], vec![]),
            ("registry = { url = \"http://r\", flag = true }", vec!["false None", "REGISTRY http://r true"], vec![]),
            (
                "wait = \"0s\"\n[registry]\nurll = \"http://r\"",
                vec!["false None", "REGISTRY  false"],
                vec![
                    "`wait` must be longer than 0: at least 1us",
                    "unknown key `urll` in `registry` of the job: did you mean `url`?",
                    "`registry` of the job has no `url`: like \"http://localhost\"",
                ],
            ),
            (
                "flag = 1\nregistry = \"http://r\"",
                vec!["false None"],
                vec![
                    "`flag` must be true or false, not an integer",
                    "`registry` of the job must be a table, not a string",
                ],
            ),
        ] {
            let found: Vec<String> = found.iter().map(|line| line.replace("REGISTRY", of_registry)).collect();
            assert_eq!(read(text), (found, faults.into_iter().map(str::to_owned).collect()), "{text}");
        }
    }
}
