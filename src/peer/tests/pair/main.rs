//! The rules of docs/protocol.md, one test each, on the machines themselves.
//!
//! `pair` has the link, the clock and the steps; `host` carries out what the
//! machines want; scripted peers stand for who misbehaves or is to be watched.
//! Times are exact. What follows among many nodes is the simulator's (`sim`).

mod alone;
mod asking;
mod between;
mod content;
mod conversation;
mod corrupt;
mod fixture;
mod host;
mod inspections;
mod judgement;
mod keys;
mod keys_between;
mod life;
mod limits;
mod name_space;
mod nodes;
mod pair;
mod pieces;
mod scripted_client;
mod scripted_server;
mod signed;
mod spares;
mod streams;
