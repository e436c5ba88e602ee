//! The page: what it is given is what the library computes, and what a browser shows is what it was given.
//!
//! | module | what it holds the page to |
//! |---|---|
//! | `documents` | each document's numbers are the library's, to the bit where bits are promised |
//! | `reports` | what `tril report` and `tril plot` write, whatever stands in a text |
//! | `browser` | no tests: Debian's Chromium by its driver, and a server for a page |
//! | `offline` | a report in a browser: every view, its numbers, nothing from elsewhere |
//! | `live` | a served page in a browser: the same, and what only a live page can |

mod browser;
mod documents;
mod live;
mod offline;
mod reports;
