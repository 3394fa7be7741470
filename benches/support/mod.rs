//! A server process, its clients on plain sockets, and the CPU time it takes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The kernel counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
const START: Duration = Duration::from_secs(20);

/// User and system time of a process so far.
pub(crate) fn cpu_of(process: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may hold anything, the fields 3 and on; 14 and 15 are the times.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

/// A server process of its own; it ends with this.
pub(crate) struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts it over `bucket/` in a folder, with settings of its own.
    pub(crate) fn start(folder: &std::path::Path, settings: &[&str]) -> Self {
        // A port that was free a moment ago.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("an address");
        let child = Command::new(env!("CARGO_BIN_EXE_elacsym"))
            .arg("serve")
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .env("ELACSYM_SERVER__LISTEN", address.to_string())
            .env(
                "ELACSYM_STORAGE__URL",
                format!("file://{}", folder.join("bucket").display()),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let server = Self {
            child,
            address: address.to_string(),
        };
        let began = Instant::now();
        while TcpStream::connect(&server.address).is_err() {
            assert!(began.elapsed() < START, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Connects to it.
    pub(crate) fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Client {
            reader: BufReader::new(stream),
        }
    }

    /// Its CPU time so far.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        cpu_of(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, request: &str) -> Vec<u8> {
        self.send(request);
        self.receive()
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, request: &str) {
        let stream = self.reader.get_mut();
        stream.write_all(request.as_bytes()).expect("sent");
    }

    /// Reads the body of an answer, which must be a 200.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a status");
        let status = line.clone();
        let mut length = 0;
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("a header");
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut answer = vec![0; length];
        self.reader.read_exact(&mut answer).expect("an answer");
        let text = String::from_utf8_lossy(&answer);
        assert!(status.starts_with("HTTP/1.1 200"), "{status}{text}");
        answer
    }
}

/// The text of a request.
pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer key\r\n\
         content-type: application/json\r\naccept-encoding: identity\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
