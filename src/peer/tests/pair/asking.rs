//! What a test says to the hosts of a pair, and reads of them.
//!
//! Whatever is said is followed by all that follows from it at once. Refuses to
//! know how frames travel (`pair`).

use crate::host::{ClientHost, MasterHost, Node};
use crate::pair::Pair;
use crate::scripted_client::{Answered, ScriptedClient};
use crate::scripted_server::{Asked, ScriptedServer};
use ninep::client::OpenMode;

impl Pair {
    pub fn master(&mut self, host: usize) -> &mut MasterHost {
        match &mut self.hosts[host].node {
            Node::Master(master) => master,
            _ => panic!("{host} is no master"),
        }
    }

    pub fn client(&self, host: usize) -> &ClientHost {
        match &self.hosts[host].node {
            Node::Client(client) => client,
            _ => panic!("{host} is no client"),
        }
    }

    pub fn client_mut(&mut self, host: usize) -> &mut ClientHost {
        match &mut self.hosts[host].node {
            Node::Client(client) => client,
            _ => panic!("{host} is no client"),
        }
    }

    pub fn server(&self, host: usize) -> &ScriptedServer {
        match &self.hosts[host].node {
            Node::Server(server) => server,
            _ => panic!("{host} is not scripted"),
        }
    }

    pub fn caller(&self, host: usize) -> &ScriptedClient {
        match &self.hosts[host].node {
            Node::Caller(caller) => caller,
            _ => panic!("{host} is no caller"),
        }
    }

    /// Lets a scripted server do something, and what follows happen.
    pub fn let_server(&mut self, host: usize, act: impl FnOnce(&mut ScriptedServer)) {
        match &mut self.hosts[host].node {
            Node::Server(server) => act(server),
            _ => panic!("{host} is not scripted"),
        }
        self.send_all(host);
        self.settle();
    }

    /// The same of a scripted client.
    pub fn let_caller<R>(&mut self, host: usize, act: impl FnOnce(&mut ScriptedClient) -> R) -> R {
        let result = match &mut self.hosts[host].node {
            Node::Caller(caller) => act(caller),
            _ => panic!("{host} is no caller"),
        };
        self.send_all(host);
        self.settle();
        result
    }

    /// Sends frames as they are.
    pub fn send_raw(&mut self, host: usize, bytes: Vec<u8>) {
        let id = self.caller(host).conn;
        self.send(host, id, bytes, None);
        self.settle();
    }

    /// Opens a file and reads it once: the token of the read.
    pub fn read_file(&mut self, caller: usize, path: &str) -> u64 {
        self.read_file_at(caller, path, 0)
    }

    pub fn read_file_at(&mut self, caller: usize, path: &str, offset: u64) -> u64 {
        self.let_caller(caller, |caller| {
            let (fid, _) = caller.open(path, OpenMode::Read);
            caller.read(fid, offset, 65_536)
        })
    }

    /// What a read gave; `None` while it is parked.
    pub fn bytes(&self, caller: usize, token: u64) -> Option<Vec<u8>> {
        match self.caller(caller).answer(token)? {
            (_, Answered::Read(bytes)) => Some(bytes.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// The text of a file that is there at once.
    pub fn text(&mut self, caller: usize, path: &str) -> String {
        let token = self.read_file(caller, path);
        let bytes = self.bytes(caller, token).expect("it is answered at once");
        String::from_utf8(bytes).expect("it is text")
    }

    /// What the master said to a scripted client, without the times.
    pub fn lines(&self, caller: usize) -> Vec<String> {
        self.caller(caller).lines.iter().map(|(_, line)| line.clone()).collect()
    }

    /// When one host called another.
    pub fn called_ms(&self, from: usize, to: usize) -> Vec<u64> {
        let calls = self.calls.iter().filter(|call| (call.1, call.2) == (from, to));
        calls.map(|call| call.0).collect()
    }

    /// When somebody asked that of a scripted server.
    pub fn asked_ms(&self, server: usize, what: &Asked) -> Vec<u64> {
        let asked = self.server(server).asked.iter();
        asked.filter(|(_, asked)| asked == what).map(|(at_ms, _)| *at_ms).collect()
    }

    /// The pieces that were asked of a scripted server, in order.
    pub fn pieces_asked(&self, server: usize, by_waiting: bool) -> Vec<u32> {
        let piece = |asked: &(u64, Asked)| match asked.1 {
            Asked::Piece { piece, waits } if waits == by_waiting => Some(piece),
            _ => None,
        };
        self.server(server).asked.iter().filter_map(piece).collect()
    }
}
