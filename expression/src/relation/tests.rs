//! Queries: what is refused and where, and what tells rows apart.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::{AggregateFunction, Collection, Query};

fn collections() -> Vec<Collection> {
    let collection = |name: &str, fields: &[(&str, DataType)], key: &[usize]| Collection {
        name: name.to_owned(),
        fields: fields.iter().map(|(name, of)| ((*name).to_owned(), of.clone())).collect(),
        keys: vec![key.to_vec()],
    };
    use DataType::{Float64, Int64, Utf8};
    vec![
        collection("cards", &[("card", Utf8), ("n", Int64), ("spend", Float64), ("shop", Utf8)], &[0]),
        collection("shops", &[("shop", Utf8), ("owner", Utf8), ("since", Int64)], &[0]),
        collection("pairs", &[("a", Utf8), ("b", Utf8), ("x", Int64)], &[0, 1]),
    ]
}

fn aggregates() -> Vec<AggregateFunction> {
    let names = ["count", "sum", "min", "max", "count_distinct", "avg"];
    let one = |name: &&'static str| AggregateFunction {
        name,
        spellings: vec![name],
        elsewhere: if *name == "avg" { vec![("average", "avg(value)".to_owned())] } else { vec![] },
        has_number: false,
        counts_rows: *name == "count",
        of_distinct: match *name {
            "count" | "count_distinct" => Some("count_distinct"),
            "min" | "max" => Some(name),
            _ => None,
        },
        result: match *name {
            "min" | "max" => Arc::new(|of| Ok(of.clone())),
            "sum" => Arc::new(|of| if *of == DataType::Utf8 { Err("a number".to_owned()) } else { Ok(of.clone()) }),
            "avg" => Arc::new(|_| Ok(DataType::Float64)),
            _ => Arc::new(|_| Ok(DataType::Int64)),
        },
    };
    names.iter().map(one).collect()
}

fn compiled(sql: &str) -> Result<Query, String> {
    Query::compile(sql, &collections(), &aggregates()).map_err(|error| match error.offset {
        None => error.message,
        Some(at) => format!("{}: {}", &sql[at..].split_whitespace().next().unwrap_or_default(), error.message),
    })
}

/// Whether the columns of that name tell rows apart: `true`, or why not.
fn check_key(sql: &str, key: &str) -> Result<(), String> {
    let query = compiled(sql)?;
    let place = |name: &str| query.fields.iter().position(|(known, _)| known == name);
    let key: Vec<usize> = key.split(' ').map(place).collect::<Option<_>>().ok_or("no such column")?;
    query.check_key(&key).map_err(|why| why.chars().take(44).collect())
}

#[test]
fn what_tells_rows_apart() {
    let mut wrong = String::new();
    for (sql, key, expected) in [
        ("SELECT card, n FROM cards WHERE n > 1", "card", Ok(())),
        ("SELECT card, n FROM cards", "n", Err("what tells rows apart is `card`")),
        ("SELECT n FROM cards", "n", Err("no columns of the result are known to: keep ")),
        ("SELECT card AS k, n FROM cards", "k", Ok(())),
        ("SELECT a.card, s.owner FROM cards a JOIN shops s ON a.shop = s.shop", "card", Ok(())),
        ("SELECT a.card, s.owner FROM cards a LEFT JOIN shops s ON a.shop = s.shop", "card", Ok(())),
        ("SELECT a.card, s.owner FROM shops s RIGHT JOIN cards a ON a.shop = s.shop", "card", Ok(())),
        ("SELECT a.card, s.owner FROM cards a, shops s WHERE a.shop = s.shop", "card", Ok(())),
        ("SELECT a.card, b.card AS other FROM cards a JOIN cards b ON a.shop = b.shop", "card other", Ok(())),
        (
            "SELECT a.card, b.card AS other FROM cards a JOIN cards b ON a.shop = b.shop",
            "card",
            Err("what tells rows apart is `card` with `other`"),
        ),
        ("SELECT s.shop, q.x FROM shops s JOIN pairs q ON q.a = s.shop AND q.b = s.owner", "shop", Ok(())),
        ("SELECT coalesce(a.card, s.shop) AS k, a.n FROM cards a FULL JOIN shops s ON a.card = s.shop", "k", Ok(())),
        ("SELECT q.b, q.x FROM pairs q WHERE q.a = 'one'", "b", Ok(())),
        ("SELECT shop, count(*) AS n FROM cards GROUP BY shop", "shop", Ok(())),
        ("SELECT 'all' AS k, count(*) AS n FROM cards", "k", Ok(())),
        ("SELECT DISTINCT shop FROM cards", "shop", Ok(())),
        ("SELECT shop FROM cards UNION SELECT shop FROM shops", "shop", Ok(())),
        ("SELECT shop FROM cards INTERSECT SELECT shop FROM shops", "shop", Ok(())),
        (
            "SELECT shop FROM cards UNION ALL SELECT shop FROM shops",
            "shop",
            Err("UNION ALL may give a row twice: use UNION, o"),
        ),
        ("SELECT card FROM cards a WHERE EXISTS (SELECT 1 FROM shops s WHERE s.shop = a.shop)", "card", Ok(())),
        ("SELECT card FROM cards WHERE shop IN (SELECT shop FROM shops WHERE since > 3)", "card", Ok(())),
        (
            "SELECT shop, card FROM (SELECT *, row_number() OVER (PARTITION BY shop ORDER BY n DESC) AS p FROM cards) q WHERE p = 1",
            "shop",
            Ok(()),
        ),
        (
            "SELECT shop, p, card FROM (SELECT *, row_number() OVER (PARTITION BY shop ORDER BY n DESC) AS p FROM cards) q WHERE p <= 3",
            "shop p",
            Ok(()),
        ),
        ("SELECT card, n FROM cards ORDER BY n DESC LIMIT 3", "card", Ok(())),
        ("SELECT card FROM cards WHERE spend > (SELECT avg(spend) FROM cards)", "card", Ok(())),
        (
            "WITH many AS (SELECT shop, count(*) AS n FROM cards GROUP BY shop) SELECT shop FROM many WHERE n > 2",
            "shop",
            Ok(()),
        ),
    ] {
        let found = check_key(sql, key);
        if found != expected.map_err(str::to_owned) {
            wrong += &format!("{sql}\n  {found:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Each is refused by its name, at its place.
#[test]
fn what_is_refused() {
    let mut wrong = String::new();
    for (sql, expected) in [
        ("SELECT card FROM card", "card: nothing is called `card`, did you mean `cards`?"),
        (
            "SELECT card, rank() OVER (ORDER BY n) AS p FROM cards",
            "rank(): the window function `rank` is not supported",
        ),
        ("SELECT card, median(n) AS m FROM cards GROUP BY card", "median(n): the aggregate `median` is not supported"),
        ("SELECT card, now() AS t FROM cards", "now(): `now` is not allowed"),
        ("SELECT card FROM cards ORDER BY n", "ORDER: ORDER without LIMIT has no meaning"),
        ("SELECT card FROM cards LIMIT 3", "LIMIT: LIMIT without ORDER BY is not supported"),
        ("SELECT card FROM cards ORDER BY n LIMIT 3 OFFSET 2", "OFFSET: OFFSET is not supported"),
        ("SELECT a.card FROM cards a JOIN shops s ON a.n > s.since", "JOIN: JOIN without an equality is not supported"),
        ("SELECT shop FROM cards EXCEPT ALL SELECT shop FROM shops", "EXCEPT: EXCEPT ALL is not supported"),
        ("SELECT card, row_number() OVER (ORDER BY n) AS p FROM cards", "ROW_NUMBER() needs an upper bound"),
        ("SELECT 1 AS x", "rows that are read from nothing"),
        ("SELECT shop, sum(card) AS s FROM cards GROUP BY shop", "`sum` needs a number"),
        ("SELECT shop, count(*) AS n FROM cards GROUP BY ROLLUP(shop)", "GROUPING"),
        ("SELECT card, unknwon FROM cards", "unknown column `unknwon`; there are `card`, `n`, `spend`, `shop`"),
        ("SELECT card, spedn FROM cards", "spedn: unknown column `spedn`, did you mean `spend`?"),
        ("SELECT c.card, c.Spend FROM cards c", "unknown column `c.Spend`, did you mean `c.spend`?"),
        ("SELECT x.card FROM cards c", "unknown column `x.card`, did you mean `c.card`?"),
        (
            "SELECT average(n) AS a, shop FROM cards GROUP BY shop",
            "average(n): unknown function `average`: did you mean `avg(value)`?",
        ),
        (
            "SELECT shop, countDistinct(card) AS n FROM cards GROUP BY shop",
            "unknown function `countdistinct`, did you mean `count_distinct`?",
        ),
        ("SELECT card, year(n) AS y FROM cards", "year(n): unknown function `year`: write `date_part('year', n)`"),
        (
            "SELECT card FROM cards WHERE lenght(card) > 3",
            "lenght(card): unknown function `lenght`, did you mean `length`?",
        ),
        ("SELECT card FROM cards WHERE", "expected"),
        ("DELETE FROM cards", "DELETE: a query begins with SELECT or WITH"),
    ] {
        let found = compiled(sql).map(|query| format!("{:?}", query.node));
        if !found.as_ref().is_err_and(|found| found.contains(expected)) {
            wrong += &format!("{sql}\n  {found:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn columns_are_made_of_columns() {
    for (sql, expected) in [
        ("SELECT card, n * 2 AS twice FROM cards", "cards.card | cards.n"),
        ("SELECT card, n FROM cards WHERE spend > 3", "cards.card | cards.n"),
        ("SELECT shop, count(*) AS c FROM cards GROUP BY shop", "cards.shop | cards.shop"),
        ("SELECT shop, sum(n) AS c FROM cards WHERE spend > 3 GROUP BY shop", "cards.shop | cards.n cards.spend"),
        (
            "SELECT owner, max(spend - since) AS m FROM cards JOIN shops USING (shop) GROUP BY owner",
            "shops.owner | cards.shop cards.spend shops.shop shops.since",
        ),
        ("SELECT a FROM pairs UNION SELECT card FROM cards", "cards.card pairs.a"),
        ("SELECT card, spend FROM cards WHERE shop IN (SELECT shop FROM shops)", "cards.card | cards.spend"),
        (
            "SELECT card, place FROM (SELECT card, ROW_NUMBER() OVER (PARTITION BY shop ORDER BY n) AS place FROM cards) WHERE place <= 3",
            "cards.card | cards.n cards.shop",
        ),
    ] {
        let found: Vec<String> = compiled(sql).unwrap().lineage.iter().map(|of| of.join(" ")).collect();
        assert_eq!(found.join(" | "), expected, "{sql}");
    }
}
