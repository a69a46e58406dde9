//! Narrowing a catalogue to what has all the words of a search, in names, meanings, descriptions, owners, tags or lineage.

use super::entries::{AboutEntry, Catalog, ColumnEntry, GroupEntry, MadeOf, SourceEntry, ViewEntry};

/// A group or source that has all the words stays whole; of another group those columns stay that have them beside what the group
/// has.
pub fn narrow(catalog: &mut Catalog, search: &str) {
    let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
    for job in &mut catalog.jobs {
        job.sources.retain(|source| has_all(&of_source(source), &words));
        for group in &mut job.features {
            let of_group = of_group(group);
            if !has_all(&of_group, &words) {
                group.columns.retain(|column| has_all(&(of_group.clone() + " " + &of_column(column)), &words));
            }
        }
        job.features.retain(|group| !group.columns.is_empty());
        job.views.retain(|view| has_all(&of_view(view), &words));
    }
    catalog.jobs.retain(|job| !job.sources.is_empty() || !job.features.is_empty() || !job.views.is_empty());
}

fn has_all(text: &str, words: &[String]) -> bool {
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}

fn of_source(source: &SourceEntry) -> String {
    let columns: Vec<&str> = source.columns.iter().map(|column| column.name.as_str()).collect();
    let places: Vec<&str> = source.history.iter().chain(&source.stream).map(String::as_str).collect();
    [source.source.clone(), of_about(&source.about), columns.join(" "), places.join(" ")].join(" ")
}

fn of_group(group: &GroupEntry) -> String {
    let key: Vec<&str> = group.key.iter().flat_map(words_of).collect();
    let served = group.served.join(" ");
    let said = [group.features.clone(), of_about(&group.about), group.sources.join(" "), group.window.clone(), served];
    [said.join(" "), key.join(" ")].join(" ")
}

fn of_view(view: &ViewEntry) -> String {
    let columns: Vec<&str> = view.key.iter().chain(&view.columns).flat_map(words_of).collect();
    let served = view.served.join(" ");
    let said = [view.view.clone(), of_about(&view.about), view.reads.join(" "), view.sql.clone(), served];
    [said.join(" "), columns.join(" ")].join(" ")
}

fn words_of(column: &MadeOf) -> impl Iterator<Item = &str> {
    [column.field.name.as_str()].into_iter().chain(column.from.iter().map(String::as_str))
}

fn of_column(column: &ColumnEntry) -> String {
    let of_type = column.of_type.clone().unwrap_or_default();
    [column.column.clone(), of_type, column.meaning.clone(), of_about(&column.about), column.from.join(" ")].join(" ")
}

fn of_about(about: &AboutEntry) -> String {
    let AboutEntry { description, owner, tags } = about;
    description.iter().chain(owner).chain(tags).cloned().collect::<Vec<_>>().join(" ")
}
