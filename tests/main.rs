//! Headwater end to end: the built binary, and the library where that is what is embedded, on real files, topics and stores.
//!
//! A module a subject; what they share is in `support`. All run in one process, side by side, so each test has a directory, a
//! job name, topics and ports of its own, and none changes the process: no environment, no current directory.
//!
//! ```text
//! ./dev test                     all, on a real Kafka, Redis and S3
//! ./dev test gap::               one subject
//! cargo test --test e2e starts:: by hand; what needs a service says that it was skipped
//! ```

mod backfill;
mod bad_records;
mod calendar;
mod catalog;
mod changed;
mod chaos;
mod cluster;
mod commands;
mod csv;
mod debezium;
mod demo;
mod deploy;
mod earlier;
mod embed;
mod examples;
mod formats;
mod fuzz;
mod gap;
mod inputs;
mod key_partitions;
mod lakes;
mod links;
mod live;
mod lookups;
mod metrics;
mod new_partitions;
mod object_store;
mod one_result;
mod outages;
mod python;
mod records;
mod redis_rows;
mod registry;
mod replaced;
mod rest;
mod restart;
mod rows_before;
mod same_bytes;
mod seam_by_id;
mod seam_by_offset;
mod seam_by_time;
mod several_sources;
mod shadow;
mod sql;
mod starts;
mod support;
mod topics;
mod union;
mod views;
mod wrong_inputs;
