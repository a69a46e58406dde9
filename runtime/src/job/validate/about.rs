//! `description`, `owner` and `tags`: what people should know. They change no meaning.

use crate::job::About;
use crate::job::section::{Context, Section};

pub fn read(cx: &mut Context, section: &Section) -> About {
    let text = |cx: &mut Context, key: &str| section.text(cx, key).map(|(text, _)| text.text.trim().to_owned());
    let tags = section.get("tags").and_then(|_| section.list(cx, "tags")).unwrap_or_default();
    About {
        description: text(cx, "description"),
        owner: text(cx, "owner"),
        tags: tags.into_iter().map(|tag| tag.text).collect(),
    }
}
