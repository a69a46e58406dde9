//! The aggregates: a file a family, a line each in the list. Nothing else in Headwater asks for one by its name, but for
//! the shape of `count_if` in SQL; what tells how jobs are written (the builder, hints) may name some.

mod by_time;
mod count;
mod counts;
mod definition;
mod distinct;
mod elsewhere;
mod extremes;
mod frequent;
mod percentile;
mod plan_text;
mod spread;
mod sum;
mod types;

use std::str::FromStr;

pub use definition::{Aggregate, Definition, Needs, Parameter, Range, Refused, Total};
pub use elsewhere::{Instead, instead};

/// All of them, in the order in which messages list them.
pub static AGGREGATES: &[&Definition] = &[
    &count::COUNT,
    &sum::SUM,
    &sum::AVG,
    &extremes::MIN,
    &extremes::MAX,
    &spread::VAR_POP,
    &spread::VAR_SAMP,
    &spread::STDDEV_POP,
    &spread::STDDEV_SAMP,
    &by_time::FIRST,
    &by_time::LAST,
    &distinct::COUNT_DISTINCT,
    &frequent::TOP_K,
    &frequent::MODE,
    &by_time::LAST_N,
    &distinct::APPROX_COUNT_DISTINCT,
    &percentile::APPROX_PERCENTILE,
];

/// The aggregate of a name, as jobs write it.
pub fn find(name: &str) -> Option<&'static Definition> {
    AGGREGATES.iter().copied().find(|aggregate| aggregate.name == name)
}

/// The aggregate of a name, as SQL writes it, in lower case: `mean` is `avg`.
pub fn find_in_sql(name: &str) -> Option<&'static Definition> {
    find(name).or_else(|| AGGREGATES.iter().copied().find(|aggregate| aggregate.in_sql.contains(&name)))
}

/// What a name that no job may write is here, and with which argument if that is in the name: names from elsewhere, and
/// names that are known but for case, `_` and `-`.
///
/// ```
/// use headwater_operators::aggregate::meant;
///
/// let (median, argument) = meant("median").unwrap();
/// assert_eq!((median.name, argument), ("approx_percentile", Some(0.5)));
/// assert_eq!(meant("countDistinct").unwrap().0.name, "count_distinct");
/// assert!(meant("frequency").is_none());
/// ```
pub fn meant(name: &str) -> Option<(&'static Definition, Option<f64>)> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let wanted = plain(name);
    every_name().find(|(known, ..)| plain(known) == wanted).map(|(_, aggregate, argument)| (aggregate, argument))
}

/// The names of all aggregates, then those that they have elsewhere, each with what is [meant] by it.
pub fn every_name() -> impl Iterator<Item = (&'static str, &'static Definition, Option<f64>)> {
    let all = || AGGREGATES.iter().copied();
    let names = all().map(|aggregate| (aggregate.name, aggregate, None));
    let aliases = all().flat_map(|aggregate| {
        let alone = aggregate.aliases.iter().map(move |alias| (*alias, aggregate, None));
        let parameter = aggregate.parameter.iter().flat_map(|parameter| parameter.aliases);
        alone.chain(parameter.map(move |(alias, argument)| (*alias, aggregate, Some(*argument))))
    });
    names.chain(aliases)
}

/// Whether one is what another is of each different value once.
pub fn is_of_distinct(name: &str) -> bool {
    AGGREGATES.iter().any(|other| other.name != name && other.of_distinct == Some(name))
}

/// Reads `sum`, or `top_k(3)`: what an [`Aggregate`] is shown as.
///
/// ```
/// use headwater_operators::aggregate::Aggregate;
///
/// let top: Aggregate = "top_k(3)".parse()?;
/// assert_eq!((top.name(), top.argument()), ("top_k", Some(3.0)));
/// assert!("top_k".parse::<Aggregate>().is_err());
/// assert!("approx_percentile(2)".parse::<Aggregate>().is_err());
/// # Ok::<(), String>(())
/// ```
impl FromStr for Aggregate {
    type Err = String;

    fn from_str(text: &str) -> Result<Aggregate, String> {
        let (name, argument) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            Some((name, argument)) => (name, Some(argument.parse().map_err(|_| format!("`{argument}` is no number"))?)),
            None => (text, None),
        };
        find(name).ok_or_else(|| format!("unknown aggregate `{name}`"))?.with(argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_one_aggregate() {
        let plain: Vec<String> = every_name().map(|(name, ..)| name.replace('_', "")).collect();
        for (at, name) in plain.iter().enumerate() {
            assert!(!plain[..at].contains(name), "{name} is there twice");
            assert_eq!(*name, name.to_lowercase());
        }
        for (_, aggregate, argument) in every_name() {
            assert!(argument.is_none() || aggregate.with(argument).is_ok());
        }
    }

    #[test]
    fn every_aggregate_is_in_the_docs() {
        for page in ["jobs.md", "windows.md"] {
            let text = std::fs::read_to_string(format!("{}/../docs/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            for aggregate in AGGREGATES {
                assert!(text.contains(&format!("`{}`", aggregate.name)), "{} says nothing of {}", page, aggregate.name);
            }
        }
    }

    #[test]
    fn saved_names_are_told_apart() {
        for (at, aggregate) in AGGREGATES.iter().enumerate() {
            assert!(
                AGGREGATES[..at].iter().all(|other| other.identity != aggregate.identity),
                "{}",
                aggregate.identity
            );
        }
    }

    #[test]
    fn arguments() {
        let table = [
            ("sum", "sum"),
            ("sum(1)", "`sum` takes no number"),
            ("top_k(3)", "top_k(3)"),
            ("top_k(0)", "`k` must be an integer of 1 to 10000, not 0"),
            ("top_k(1.5)", "`k` must be an integer of 1 to 10000, not 1.5"),
            ("top_k(10001)", "`k` must be an integer of 1 to 10000, not 10001"),
            ("top_k", "`top_k` has no `k`: say how many values, like k = 3"),
            ("approx_percentile(0.99)", "approx_percentile(0.99)"),
            ("approx_percentile(1)", "approx_percentile(1)"),
            ("approx_percentile(NaN)", "`p` must be a number from 0 to 1, not NaN"),
            ("approx_percentile(-0.1)", "`p` must be a number from 0 to 1, not -0.1"),
            ("last_n(x)", "`x` is no number"),
            ("mean", "unknown aggregate `mean`"),
        ];
        for (text, expected) in table {
            let shown = text.parse::<Aggregate>().map_or_else(|e| e, |aggregate| aggregate.to_string());
            assert_eq!(shown, expected, "{text}");
        }
    }
}
