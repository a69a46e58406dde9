//! `headwater catalog PATH...`

use super::args::CatalogArgs;
use super::log::{load, masked};
use super::output::print;
use crate::base::failure::Failure;
use crate::describe::catalog::entries::{Catalog, JobEntry};
use crate::describe::catalog::{find, markdown, search, text};

pub fn catalog(args: &CatalogArgs) -> Result<(), Failure> {
    let mut catalog = Catalog { jobs: vec![] };
    for path in find::jobs(&args.paths)? {
        let job = load(&path)?;
        catalog.jobs.push(JobEntry::of(&path, job));
    }
    if let Some(words) = &args.search {
        search::narrow(&mut catalog, words);
    }
    let shown = match (args.json, args.markdown) {
        (true, _) => serde_json::to_string_pretty(&catalog).map_err(|e| Failure::Running(e.to_string()))? + "\n",
        (false, true) => markdown::show(&catalog),
        (false, false) => text::show(&catalog),
    };
    print(&masked(&shown))?;
    match (catalog.jobs.is_empty(), &args.search) {
        (true, Some(words)) => {
            Err(Failure::Running(format!("nothing here has `{words}` in a name, a meaning or a tag")))
        }
        _ => Ok(()),
    }
}
