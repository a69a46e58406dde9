//! An aggregate in the plan of a checkpoint, by its name in what is saved: `"Sum"`, `{"TopK":3}`. Those that need squares have
//! stood one level deeper from the first: `{"Spread":"VarPop"}`.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::AGGREGATES;
use super::definition::{Aggregate, Definition, Needs, Range};

const DEEPER: &str = "Spread";

impl Serialize for Aggregate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Definition { identity, parameter, needs, .. } = self.definition();
        match (parameter, needs) {
            (Some(parameter), _) => match parameter.range {
                Range::Count(_) => serializer.collect_map([(identity, self.argument_or_one() as u32)]),
                Range::Share => serializer.collect_map([(identity, self.argument_or_one())]),
            },
            (None, Needs::Squares(_)) => serializer.collect_map([(DEEPER, identity)]),
            (None, Needs::Count | Needs::Sum(_) | Needs::Synopsis(..)) => serializer.serialize_str(identity),
        }
    }
}

impl<'de> Deserialize<'de> for Aggregate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Aggregate, D::Error> {
        deserializer.deserialize_any(Text)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Aggregate;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an aggregate")
    }

    fn visit_str<E: Error>(self, identity: &str) -> Result<Aggregate, E> {
        known(identity, None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Aggregate, A::Error> {
        match map.next_key::<String>()? {
            None => Err(A::Error::custom("an aggregate without a name")),
            Some(deeper) if deeper == DEEPER => known(&map.next_value::<String>()?, None),
            Some(identity) => known(&identity, Some(map.next_value()?)),
        }
    }
}

fn known<E: Error>(identity: &str, argument: Option<f64>) -> Result<Aggregate, E> {
    let known = AGGREGATES.iter().find(|aggregate| aggregate.identity == identity);
    known.ok_or_else(|| E::custom(format!("no aggregate `{identity}`")))?.with(argument).map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What checkpoints hold: never to be changed. A new aggregate is a new line.
    #[test]
    fn what_is_saved_stays() {
        let table = [
            ("count", r#""Count""#, "Count"),
            ("sum", r#""Sum""#, "Sum"),
            ("avg", r#""Avg""#, "Avg"),
            ("min", r#""Min""#, "Min"),
            ("max", r#""Max""#, "Max"),
            ("var_pop", r#"{"Spread":"VarPop"}"#, "VarPop"),
            ("var_samp", r#"{"Spread":"VarSamp"}"#, "VarSamp"),
            ("stddev_pop", r#"{"Spread":"StddevPop"}"#, "StddevPop"),
            ("stddev_samp", r#"{"Spread":"StddevSamp"}"#, "StddevSamp"),
            ("first", r#""First""#, "First"),
            ("last", r#""Last""#, "Last"),
            ("count_distinct", r#""CountDistinct""#, "CountDistinct"),
            ("top_k(3)", r#"{"TopK":3}"#, "TopK { k: 3 }"),
            ("mode", r#""Mode""#, "Mode"),
            ("last_n(10000)", r#"{"LastN":10000}"#, "LastN { n: 10000 }"),
            ("approx_count_distinct", r#""ApproxCountDistinct""#, "ApproxCountDistinct"),
            ("approx_percentile(0.5)", r#"{"ApproxPercentile":0.5}"#, "ApproxPercentile { p: 0.5 }"),
            ("approx_percentile(1)", r#"{"ApproxPercentile":1.0}"#, "ApproxPercentile { p: 1.0 }"),
        ];
        for (text, saved, identity) in table {
            let aggregate: Aggregate = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&aggregate).unwrap(), saved);
            assert_eq!(serde_json::from_str::<Aggregate>(saved).unwrap(), aggregate);
            assert_eq!(aggregate.identity(), identity);
        }
        for aggregate in AGGREGATES {
            assert!(table.iter().any(|(.., identity)| identity.starts_with(aggregate.identity)), "{}", aggregate.name);
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in [r#""Median""#, r#"{"TopK":0}"#, r#""TopK""#, r#"{"Sum":1}"#, "{}", "7"] {
            assert!(serde_json::from_str::<Aggregate>(text).is_err(), "{text}");
        }
    }
}
