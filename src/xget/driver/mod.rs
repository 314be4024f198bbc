//! The driver: the state machines of `peer` run for real, over sockets and files.
//!
//! | module | knows |
//! |---|---|
//! | `event_loop` | poll(2), connections, time |
//! | `budget` | what all who connect may take together, and who goes first |
//! | `conn` | one connection: frames in, replies out |
//! | `machine` | what the loop asks of a state machine, and who looks after one |
//! | `fetch`, `master` | the two machines: their effects carried out |
//! | `dest_files`, `served_files` | where the bytes of either are |
//! | `parts` | what a bulk reply consists of |
//! | `host`, `trace` | addresses as people write them; `-D` |
//! | `exchange`, `reading`, `line` | short talks with a master, which block until a time |
//! | `ears`, `search` | who on the network has something: a master's side, and who asks |
//! | `nodes_tab` | the file of the nodes, when it changed |
//! | `shut_in` | what either may open, once it runs |

mod budget;
mod conn;
mod descriptors;
mod dest_files;
mod digests;
mod ears;
mod event_loop;
mod exchange;
mod fetch;
mod host;
mod line;
mod machine;
mod master;
mod nodes_tab;
mod parts;
mod reading;
mod search;
mod served_files;
mod shut_in;
mod signed;
mod trace;

pub use budget::Limits;
pub use dest_files::failure;
pub use digests::{Hashed, print_digest};
pub use exchange::{ask_alone, ask_node, write_log};
pub use fetch::{FetchTask, Fetching, Turn, fetch};
pub use host::{Host, MASTER_PORT, first_hosts, parse_host, parse_hosts, resolve, resolve_all};
pub use machine::{FetchObserver, MasterObserver, MasterState, Observer};
pub use master::{ServeTask, serve};
pub use reading::Reading;
pub use search::{SearchEnd, Sought, search};
pub use shut_in::{Account, child as shut_child_in};
