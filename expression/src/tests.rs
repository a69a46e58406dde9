//! `cases.txt` on its rows; then what a table cannot say: rows alone and together, fields that did not decode, odd batches.

mod alone;
mod nested;
mod table;
mod undecoded;
mod within;
