//! What an unknown name was meant to be: functions as other dialects call them, and how they are written here.

use datafusion_sql::sqlparser::ast::{Function, FunctionArguments};

/// What takes a part out of a time, and how `date_part` calls that.
const PARTS: [(&str, &str); 17] = [
    ("year", "year"),
    ("quarter", "quarter"),
    ("month", "month"),
    ("week", "week"),
    ("weekofyear", "week"),
    ("day", "day"),
    ("dayofmonth", "day"),
    ("dayofweek", "dow"),
    ("weekday", "dow"),
    ("dayofyear", "doy"),
    ("hour", "hour"),
    ("minute", "minute"),
    ("second", "second"),
    ("millisecond", "millisecond"),
    ("microsecond", "microsecond"),
    ("epoch", "epoch"),
    ("unix_timestamp", "epoch"),
];

/// How others are written, `{0}` for the first argument and so on.
const SPELLINGS: [(&str, &str); 29] = [
    ("if", "CASE WHEN {0} THEN {1} ELSE {2} END"),
    ("iff", "CASE WHEN {0} THEN {1} ELSE {2} END"),
    ("isnull", "{0} IS NULL"),
    ("isnotnull", "{0} IS NOT NULL"),
    ("zeroifnull", "coalesce({0}, 0)"),
    ("len", "length({0})"),
    ("ucase", "upper({0})"),
    ("lcase", "lower({0})"),
    ("startswith", "starts_with({0}, {1})"),
    ("endswith", "ends_with({0}, {1})"),
    ("charindex", "strpos({1}, {0})"),
    ("locate", "strpos({1}, {0})"),
    ("mod", "{0} % {1}"),
    ("fmod", "{0} % {1}"),
    ("ceiling", "ceil({0})"),
    ("strftime", "to_char({0}, {1})"),
    ("strptime", "to_timestamp({0}, {1})"),
    ("date_add", "{0} + INTERVAL '1 day'"),
    ("dateadd", "{2} + INTERVAL '1 day'"),
    ("date_sub", "{0} - INTERVAL '1 day'"),
    ("timestamp_seconds", "to_timestamp_seconds({0})"),
    ("timestamp_millis", "to_timestamp_millis({0})"),
    ("timestamp_micros", "to_timestamp_micros({0})"),
    ("size", "array_length({0})"),
    ("array_size", "array_length({0})"),
    ("cardinality", "array_length({0})"),
    ("list_size", "array_length({0})"),
    ("element_at", "array_element({0}, {1})"),
    ("try_element_at", "array_element({0}, {1})"),
];

/// How a call of a function that is not known is written here, with its own arguments.
pub(super) fn spelled(name: &str, function: &Function) -> Option<String> {
    let arguments: Vec<String> = match &function.args {
        FunctionArguments::List(list) => list.args.iter().map(ToString::to_string).collect(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => vec![],
    };
    let argument = |at: usize| arguments.get(at).map_or("...", String::as_str);
    if let Some((_, part)) = PARTS.iter().find(|(known, _)| *known == name) {
        return Some(format!("date_part('{part}', {})", argument(0)));
    }
    let (_, spelling) = SPELLINGS.iter().find(|(known, _)| *known == name)?;
    let with = |text: String, at: usize| text.replace(&format!("{{{at}}}"), argument(at));
    Some((0..3).fold((*spelling).to_owned(), with))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    use super::*;
    use crate::Expression;

    /// What is said to be written compiles, and no name is known already.
    #[test]
    fn what_is_meant_can_be_written() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let texts = DataType::List(Field::new("item", DataType::Utf8, true).into());
        let columns =
            [("ts", time), ("n", DataType::Int64), ("s", DataType::Utf8), ("ok", DataType::Boolean), ("l", texts)];
        let schema = Schema::new(columns.map(|(name, of)| Field::new(name, of, true)).to_vec()).into();
        for name in PARTS.iter().chain(&SPELLINGS).map(|(name, _)| *name) {
            let arguments = match name {
                "if" | "iff" => "ok, n, 0",
                "mod" | "fmod" => "n, 2",
                "ceiling" | "zeroifnull" | "isnull" | "isnotnull" => "n",
                "len" | "ucase" | "lcase" => "s",
                "startswith" | "endswith" | "charindex" | "locate" => "s, 'x'",
                "strptime" => "s, '%Y'",
                "strftime" => "ts, '%Y'",
                "size" | "array_size" | "cardinality" | "list_size" => "l",
                "element_at" | "try_element_at" => "l, 1",
                "dateadd" => "day, 1, ts",
                "timestamp_seconds" | "timestamp_millis" | "timestamp_micros" => "n",
                _ => "ts",
            };
            let told = Expression::compile(&format!("{name}({arguments})"), &schema).unwrap_err().message;
            let start = format!("unknown function `{name}`: write `");
            let written = told.strip_prefix(&start).and_then(|rest| rest.strip_suffix('`'));
            let written = written.unwrap_or_else(|| panic!("{name}: {told}"));
            Expression::compile(written, &schema).unwrap_or_else(|e| panic!("{name}: {written}: {e}"));
        }
    }
}
