//! What do faults need of the machine? A disk that is soon full, a network of a test's own, the clock of one
//! process. All of it is gone when dropped.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use url::Url;

use crate::harness::postgres::Database;
use crate::harness::{Directory, environment};

/// Runs a command that only root may run.
pub fn as_root(arguments: &[&str]) -> Output {
    let output = if environment::is_root() {
        Command::new(arguments[0]).args(&arguments[1..]).output()
    } else {
        Command::new("sudo").arg("-n").args(arguments).output()
    };
    output.unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

fn must(arguments: &[&str]) {
    let output = as_root(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// How many files and connections a process may have open from here on.
pub fn may_open(process: u32, files: usize) {
    must(&["prlimit", &format!("--pid={process}"), &format!("--nofile={files}")]);
}

/// A small file system in memory.
pub struct SmallDisk(Directory);

impl SmallDisk {
    /// Of so many megabytes.
    pub fn of(megabytes: usize) -> Self {
        let directory = Directory::new();
        let size = format!("size={megabytes}m,mode=1777");
        must(&["mount", "-t", "tmpfs", "-o", &size, "chancery-test", directory.text()]);
        Self(directory)
    }

    pub fn directory(&self) -> &Directory {
        &self.0
    }

    /// Writes until nothing goes in any more.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let mut size = 1 << 20;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    pub fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still writes there belongs to a test that is over.
        as_root(&["umount", "-l", self.0.text()]);
    }
}

static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// A network of its own with one line to this machine.
pub struct Namespace {
    name: String,
    line: String,
    second: u32,
    third: u32,
}

impl Namespace {
    /// Several test programs may run, and each may have several of these at a time.
    pub fn new() -> Self {
        let (number, third) = (NETWORKS.fetch_add(1, Ordering::Relaxed) % 20, std::process::id() % 200);
        // The name of a line has 15 characters at most.
        let name = format!("chancery{third}-{number}");
        let namespace = Self { line: name.clone(), name, second: 231 + number, third };
        let (name, line) = (namespace.name.as_str(), namespace.line.as_str());
        let (outside, inside) = (format!("{}/24", namespace.outside()), format!("{}/24", namespace.inside()));
        must(&["ip", "netns", "add", name]);
        must(&["ip", "link", "add", line, "type", "veth", "peer", "name", "inside", "netns", name]);
        must(&["ip", "addr", "add", &outside, "dev", line]);
        must(&["ip", "link", "set", line, "up"]);
        must(&["ip", "-n", name, "addr", "add", &inside, "dev", "inside"]);
        must(&["ip", "-n", name, "link", "set", "inside", "up"]);
        must(&["ip", "-n", name, "link", "set", "lo", "up"]);
        namespace
    }

    /// This machine's end of the line.
    pub fn outside(&self) -> String {
        format!("10.{}.{}.1", self.second, self.third)
    }

    /// The other end.
    pub fn inside(&self) -> String {
        format!("10.{}.{}.2", self.second, self.third)
    }

    /// What stands before a command that is to run inside.
    pub fn prefix(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// What goes to this port outside, comes from it, or both, is lost from here on.
    pub fn cut(&self, port: u16, goes: bool, comes: bool) {
        let chain = |is_cut: bool, name: &str, hook: &str, end: &str| {
            let rule = if is_cut { format!("tcp {end} {port} drop;") } else { String::new() };
            format!("chain {name} {{ type filter hook {hook} priority 0; {rule} }}")
        };
        let (out, back) = (chain(goes, "out", "output", "dport"), chain(comes, "back", "input", "sport"));
        let rules = format!("table inet chancery {{\n{out}\n{back}\n}}");
        must(&["ip", "netns", "exec", &self.name, "nft", &rules]);
    }

    pub fn heal(&self) {
        must(&["ip", "netns", "exec", &self.name, "nft", "delete table inet chancery"]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        as_root(&["ip", "link", "del", &self.line]);
        as_root(&["ip", "netns", "del", &self.name]);
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    There,
    Back,
}

/// What becomes of a line at a message that does not pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Breaks,
    /// Nothing comes through any more, and nobody is told.
    FallsSilent,
}

/// So many messages of one way that have this in them pass, and the next one does not.
struct Armed {
    way: Way,
    left: usize,
    word: &'static str,
    fate: Fate,
}

impl Armed {
    fn counts(&self, way: Way, message: &[u8]) -> bool {
        let word = self.word.as_bytes();
        self.way == way && (word.is_empty() || message.windows(word.len()).any(|part| part == word))
    }
}

#[derive(Default)]
struct Fuse {
    armed: Mutex<Option<Armed>>,
    is_silent: AtomicBool,
    breaks: watch::Sender<()>,
}

impl Fuse {
    /// What becomes of the line at this message, if it does not pass.
    fn burns(&self, way: Way, message: &[u8]) -> Option<Fate> {
        if self.is_silent.load(Ordering::SeqCst) {
            return Some(Fate::FallsSilent);
        }
        let mut armed = self.armed.lock().unwrap();
        let counting = armed.as_mut().filter(|armed| armed.counts(way, message))?;
        if counting.left > 0 {
            counting.left -= 1;
            return None;
        }
        let fate = counting.fate;
        *armed = None;
        match fate {
            Fate::Breaks => {
                self.breaks.send_replace(());
            }
            Fate::FallsSilent => self.is_silent.store(true, Ordering::SeqCst),
        }
        Some(fate)
    }
}

/// A line to a port of this machine, on which everything takes a while longer, and which can be cut.
pub struct Proxy {
    pub port: u16,
    to: u16,
    each_way: Duration,
    fuse: Arc<Fuse>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Before this database, and how that is reached over it.
    pub async fn before(database: &Database) -> (Self, String) {
        let mut url = Url::parse(&database.url()).unwrap();
        let line = Self::start(url.port().unwrap_or(5432), Duration::ZERO).await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(line.port)).unwrap();
        (line, url.into())
    }

    /// Each way takes so much longer.
    pub async fn start(to: u16, each_way: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fuse = Arc::<Fuse>::default();
        let accepting = tokio::spawn(accept(listener, to, each_way, Arc::clone(&fuse)));
        Self { port, to, each_way, fuse, accepting }
    }

    /// Whoever speaks over it is cut off, and nobody else gets through.
    pub fn cut(&self) {
        self.accepting.abort();
    }

    pub async fn heal(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.accepting = tokio::spawn(accept(listener, self.to, self.each_way, Arc::clone(&self.fuse)));
    }

    /// So many messages pass this way; the next one is lost, and with it every connection there is. New ones
    /// are whole again.
    pub fn break_after(&self, messages: usize, way: Way) {
        self.arm(Armed { way, left: messages, word: "", fate: Fate::Breaks });
    }

    /// So many messages pass there that have this in them. The next one is lost, and from then on whatever is sent
    /// either way, over new connections as well: nobody is told.
    pub fn fall_silent_after(&self, messages: usize, word: &'static str) {
        self.arm(Armed { way: Way::There, left: messages, word, fate: Fate::FallsSilent });
    }

    fn arm(&self, armed: Armed) {
        *self.fuse.armed.lock().unwrap() = Some(armed);
    }

    pub fn is_silent(&self) -> bool {
        self.fuse.is_silent.load(Ordering::SeqCst)
    }

    /// Connections that fell silent end; new ones are whole again.
    pub fn speak(&self) {
        self.fuse.is_silent.store(false, Ordering::SeqCst);
        self.fuse.breaks.send_replace(());
    }

    /// Whether it has not broken since, which it will not do any more.
    pub fn is_whole(&self) -> bool {
        self.fuse.armed.lock().unwrap().take().is_some()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Its connections end with it, or when its fuse burns.
async fn accept(listener: TcpListener, to: u16, each_way: Duration, fuse: Arc<Fuse>) {
    let (mut connections, mut breaks) = (JoinSet::new(), fuse.breaks.subscribe());
    loop {
        let client = tokio::select! {
            Ok(()) = breaks.changed() => {
                connections.abort_all();
                continue;
            }
            Ok((client, _)) = listener.accept() => client,
        };
        let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
        for end in [&client, &server] {
            end.set_nodelay(true).unwrap();
        }
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = server.into_split();
        connections.spawn(carry(client_reads, server_writes, each_way, Way::There, Arc::clone(&fuse)));
        connections.spawn(carry(server_reads, client_writes, each_way, Way::Back, Arc::clone(&fuse)));
    }
}

/// What is read is written later, in order; more is read meanwhile.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, later: Duration, way: Way, fuse: Arc<Fuse>) {
    let (sender, mut waiting) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let behind = tokio::spawn(async move {
        while let Some((at, bytes)) = waiting.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        match fuse.burns(way, &buffer[..count]) {
            // Both ends stay open, for as long as nobody closes this one.
            Some(Fate::FallsSilent) => return std::future::pending().await,
            Some(Fate::Breaks) => break,
            None => {}
        }
        if sender.send((Instant::now() + later, buffer[..count].to_vec())).is_err() {
            break;
        }
    }
    drop(sender);
    let _ = behind.await;
}
