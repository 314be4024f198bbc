//! A master run for real: begun, watched, its effects carried out.

use super::budget::Limits;
use super::conn::Part;
use super::descriptors;
use super::ears::Ears;
use super::event_loop::Loop;
use super::machine::{Machine, MasterObserver, MasterState};
use super::nodes_tab::{Look, NodesTab};
use super::parts::PartsError;
use super::served_files::{ServedEvent, ServedFiles};
use super::shut_in::{Account, MasterNeeds};
use super::signed::Signed;
use crate::key_file;
use crate::os::link_socket::LinkSocket;
use crate::os::{memory, socket};
use crate::store::alone::Packing;
use crate::store::scan::{Scan, ScanOptions};
use ninep::server::ConnId;
use peer::auth::Key;
use peer::conn::{ConnEffect, ConnEvent};
use peer::failure::Failure;
use peer::master::{Master, MasterEffect, MasterInput, MasterOptions};
use peer::namespace::Bulk;
use peer::server::Standing;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

/// What is to be served, and how.
#[derive(Clone, Debug)]
pub struct ServeTask {
    /// A directory, or a file.
    pub path: PathBuf,
    pub port: u16,
    pub fan_out: u8,
    /// Copies that the head node's uplink carries in the time of one.
    pub head_copies: u16,
    pub one_file_system: bool,
    /// Who asks the network for something finds it here.
    pub is_found: bool,
    /// Of the cluster, or the root: who does not have what follows from it is not let in.
    pub key: Option<Key>,
    /// The plain tree is for everybody all the same.
    pub is_plain_free: bool,
    /// Where digests are kept between starts.
    pub cache: Option<PathBuf>,
    /// Of those who connect.
    pub limits: Limits,
    /// Whom it becomes, once all is open.
    pub account: Option<Account>,
    /// Then it opens nothing more but what it serves.
    pub is_shut_in: bool,
}

/// Serves until the process is ended.
pub fn serve(task: ServeTask, observer: impl MasterObserver) -> Result<(), String> {
    let (account, is_shut_in) = (task.account.clone(), task.is_shut_in);
    let needs = MasterNeeds::of(&task.path, task.cache.as_deref(), account, is_shut_in);
    let (mut machine, event_loop) = begin(task, Box::new(observer))?;
    for text in needs.give_up_the_rest()? {
        machine.observer.warn(&text);
    }
    let failures = event_loop.run(&mut machine).map_err(|error| error.to_string())?;
    // The process ends: to free each thing that was served is code, and time.
    std::mem::forget(machine);
    failures.into_iter().next().map_or(Ok(()), |failure| Err(failure.why))
}

/// What cannot be served is refused here, before anything is hashed.
pub(super) fn begin<'w>(
    task: ServeTask,
    observer: Box<dyn MasterObserver + 'w>,
) -> Result<(MasterMachine<'w>, Loop), String> {
    let limits = task.limits.within(descriptors::claim()?).on_machine(memory::available());
    let listener = socket::listen(task.port).map_err(|error| {
        format!("cannot listen on port {}: {error}; is another xget running?", task.port)
    })?;
    let addr = listener.local_addr().map_or(String::new(), |a| a.to_string());
    let options = ScanOptions { one_file_system: task.one_file_system, cache: task.cache };
    let scan = Scan::new(&task.path, options.clone()).map_err(|error| error.to_string())?;
    let who = match (&task.key, task.is_plain_free) {
        (None, _) => "everybody (no key)",
        (Some(_), false) => "who has the key",
        (Some(_), true) => "who has the key, and mounts without",
    };
    let label = format!("{} on {addr}, for {who}", task.path.display());
    let routing = MasterOptions {
        fan_out: task.fan_out,
        head_copies: task.head_copies,
        selection_bytes: limits.selection_bytes,
    };
    let (ears, deaf) = if task.is_found { Ears::open(task.port) } else { (Ears::closed(), None) };
    let mut master = Master::new(routing, label);
    if let Some(key) = &task.key {
        master.lock(key, key_file::seed()?, task.is_plain_free);
    }
    let mut machine = MasterMachine {
        ears,
        master,
        nodes_tab: NodesTab::of(&task.path),
        signed: Signed::default(),
        path: task.path.clone(),
        packing: None,
        files: ServedFiles::new(task.path, options, scan),
        observer,
        inputs: VecDeque::new(),
        result: None,
    };
    if let Some(why) = deaf {
        machine.observer.warn(&why);
    }
    Ok((machine, Loop::new(listener, Instant::now(), limits)))
}

/// A master with its files and who looks after it.
pub(super) struct MasterMachine<'w> {
    master: Master,
    ears: Ears,
    files: ServedFiles,
    nodes_tab: NodesTab,
    signed: Signed,
    /// What is served.
    path: PathBuf,
    /// What is for one node alone, while it is read.
    packing: Option<Packing>,
    observer: Box<dyn MasterObserver + 'w>,
    /// What was found out while replies were sent.
    inputs: VecDeque<MasterInput<'static>>,
    result: Option<Vec<Failure>>,
}

impl MasterMachine<'_> {
    /// Hands an input over, and carries out what follows from it.
    fn take(&mut self, now_ms: u64, input: MasterInput) {
        // Of a frame there may be bytes to verify, where they lie.
        let frame = match &input {
            MasterInput::Conn(ConnEvent::Frame { frame, .. }) => frame.prefix,
            _ => &[],
        };
        self.master.handle(now_ms, input);
        // What they lead to is at hand before anything else can happen.
        while let Some(found) = self.carry_out(frame) {
            self.master.handle(now_ms, found);
        }
    }

    /// Carries out what the master wants done, up to what has an outcome that it waits for:
    /// a look at the nodes, and a piece in the frame at hand.
    fn carry_out(&mut self, frame: &[u8]) -> Option<MasterInput<'static>> {
        while let Some(effect) = self.master.poll_effect() {
            match effect {
                MasterEffect::Checksum { generation, entry } => {
                    self.files.begin_sum(generation, entry);
                }
                MasterEffect::Verify { conn, generation, piece, range } => {
                    let content = self.master.space().generation(generation);
                    let content = content.and_then(|known| known.content.as_ref());
                    let is_wrong = content.zip(frame.get(range)).is_some_and(|(content, bytes)| {
                        content.map.verify(&content.manifest, piece, bytes).is_err()
                    });
                    return Some(MasterInput::Verified { conn, is_right: !is_wrong });
                }
                MasterEffect::ReadSignature { open_id, place } => {
                    let (signed, wrong) = self.signed.read(&self.path, place);
                    if let Some(wrong) = wrong {
                        self.observer.warn(&wrong);
                    }
                    return Some(MasterInput::Signature { open_id, signed });
                }
                MasterEffect::PackAlone { node } => {
                    self.packing = Some(Packing::of(&self.path, node));
                }
                MasterEffect::LookAtNodes => {
                    return Some(match self.nodes_tab.look() {
                        Look::Same => MasterInput::NodesTab(None),
                        Look::Changing => MasterInput::NodesTabChanging,
                        Look::News(news) => MasterInput::NodesTab(Some(news)),
                    });
                }
                MasterEffect::Rescan => self.files.rescan(),
                MasterEffect::Answer { to, id, answer } => self.ears.answer(to, id, answer),
                MasterEffect::Say(text) => self.observer.say(&text),
                MasterEffect::Warn(text) => self.observer.warn(&text),
                MasterEffect::Exit { failure } => self.result = Some(vec![failure]),
            }
        }
        None
    }

    #[cfg(test)]
    pub fn is_serving(&self) -> bool {
        self.master.is_serving()
    }

    fn state(&self) -> MasterState {
        match self.master.first_hashing() {
            Some((done_bytes, total_bytes)) => MasterState::Hashing { done_bytes, total_bytes },
            None => MasterState::Serving,
        }
    }
}

impl Machine for MasterMachine<'_> {
    fn begin_turn(&mut self, now_ms: u64) {
        if self.observer.turn(self.state()) {
            self.take(now_ms, MasterInput::LookAgain);
        }
        while let Some(input) = self.inputs.pop_front() {
            self.take(now_ms, input);
        }
        self.files.drop_unused(self.master.space());
        self.ears.look(now_ms);
    }

    fn handle(&mut self, now_ms: u64, event: ConnEvent) {
        self.take(now_ms, MasterInput::Conn(event));
    }

    fn timeout(&mut self, now_ms: u64) {
        self.take(now_ms, MasterInput::Timeout);
    }

    fn poll_timeout(&self) -> Option<u64> {
        // What is to be handed over is not to wait.
        if self.inputs.is_empty() { self.master.poll_timeout() } else { Some(0) }
    }

    fn poll_conn_effect(&mut self) -> Option<ConnEffect> {
        self.master.poll_conn_effect()
    }

    fn poll_reply(&mut self, conn: ConnId) -> Option<ConnEffect> {
        let reply = self.master.poll_reply(conn);
        let found = self.carry_out(&[]);
        self.inputs.extend(found);
        reply
    }

    fn owes(&self, conn: ConnId) -> bool {
        self.master.owes(conn)
    }

    fn held(&self, conn: ConnId) -> (usize, Standing) {
        self.master.held(conn)
    }

    fn next_conn(&mut self) -> ConnId {
        self.master.next_conn()
    }

    fn recycle(&mut self, spent: Vec<u8>) {
        self.master.recycle(spent);
    }

    fn frame_len_max(&self, conn: ConnId) -> u32 {
        self.master.frame_len_max(conn)
    }

    fn serves(&self, conn: ConnId) -> bool {
        self.master.serves(conn)
    }

    fn part(&mut self, what: Bulk, len: u32) -> Result<Part, ()> {
        let part = self.files.part(self.master.space(), what, len);
        if self.files.take_doubt() {
            self.inputs.push_back(MasterInput::Touched);
        }
        let (Bulk::Piece { generation, .. }
        | Bulk::Rest { generation, .. }
        | Bulk::File { generation, .. }) = what;
        part.map_err(|error| match error {
            PartsError::Changed(entry, path) => {
                self.inputs.push_back(MasterInput::Changed { generation, entry, path });
            }
            PartsError::Failed(text) => self.observer.warn(&text),
            // A master keeps all.
            PartsError::Passed => {}
        })
    }

    fn has_work(&self) -> bool {
        self.files.has_work() || self.packing.is_some()
    }

    fn work(&mut self, now_ms: u64) {
        self.files.work(self.master.space());
        while let Some(event) = self.files.poll_event() {
            match event {
                ServedEvent::Input(input) => self.take(now_ms, input),
                ServedEvent::Say(text) => self.observer.say(&text),
                ServedEvent::Warn(text) => self.observer.warn(&text),
            }
        }
        if let Some((packed, wrong)) = self.packing.as_mut().and_then(Packing::step) {
            self.packing = None;
            if let Some(wrong) = wrong {
                self.observer.warn(&wrong);
            }
            self.take(now_ms, MasterInput::Alone(packed));
        }
    }

    fn warn(&mut self, text: &str) {
        self.observer.warn(text);
    }

    fn is_behind(&self) -> bool {
        self.observer.is_behind()
    }

    fn ears(&self) -> &[LinkSocket] {
        self.ears.sockets()
    }

    fn hear(&mut self, now_ms: u64, ear: usize) {
        let mut heard = Vec::new();
        self.ears.take(ear, |from, datagram| heard.push((from, datagram.to_vec())));
        for (from, datagram) in heard {
            self.take(now_ms, MasterInput::Question { from, datagram: &datagram });
        }
    }

    fn take_result(&mut self) -> Option<Vec<Failure>> {
        self.result.take()
    }
}
