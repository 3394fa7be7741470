//! A server process, from its start to its end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The server.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_elacsym");
/// How long a process that was asked to stop is waited for: ticks of `TICK`.
const STOP_TICKS: u32 = 3_000;
/// How long a process is waited for until it says where it listens: well under a second where nothing else
/// runs.
const START_MAX: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(10);
/// What a failure shows of the process's standard error, bytes.
const STDERR_SHOWN: usize = 8 << 10;

/// Sleeps.
#[allow(
    clippy::disallowed_methods,
    reason = "another process is under test: nothing in this one happens at the instant waited for"
)]
pub(crate) fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// Runs a command to its end: its status, and what it printed.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> (ExitStatus, String) {
    let ended = Command::new(BINARY)
        .args(arguments)
        .env_clear()
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status, String::from_utf8_lossy(&said).into_owned())
}

/// A process that may not serve yet. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stderr: PathBuf,
}

impl Process {
    /// Starts a server on the bucket `DIRECTORY/data`, on a free port.
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_by(&[], directory, &directory.join("data"))
    }

    /// As `start`, with an environment and with settings of its own.
    pub(crate) fn start_with(
        directory: &Path,
        environment: &[(&str, &str)],
        settings: &[&str],
    ) -> Self {
        let url = format!("file://{}", directory.join("data").display());
        let mut arguments = vec!["--storage-url", &url];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        Self::spawn(&[], directory, environment, &arguments)
    }

    /// Starts a server in `directory`, on a free port, with more arguments.
    pub(crate) fn serve(directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn(&[], directory, &[], arguments)
    }

    /// Starts a server on the bucket `data` by a command that ends in running what follows it.
    pub(crate) fn start_by(wrapper: &[&str], directory: &Path, data: &Path) -> Self {
        let url = format!("file://{}", data.display());
        Self::spawn(wrapper, directory, &[], &["--storage-url", &url])
    }

    fn spawn(
        wrapper: &[&str],
        directory: &Path,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let stderr = directory.join(format!("stderr-{number}.log"));
        let mut words = wrapper.iter().copied().chain([BINARY]);
        let child = Command::new(words.next().expect("the binary at least"))
            .args(words)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            // Neither settings nor proxies of whoever runs the tests.
            .env_clear()
            .envs(environment.iter().copied())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).expect("a log file"))
            .spawn()
            .expect("the server binary starts");
        Self { child, stderr }
    }

    /// Waits until it says where it listens, or panics after `START_MAX`.
    pub(crate) fn serving(mut self) -> Server {
        let stdout = self.child.stdout.take().expect("piped above, taken once");
        let (sender, receiver) = mpsc::channel();
        // A read of a pipe has no time limit; the thread ends with the process, at the latest.
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let read = stdout.read_line(&mut line);
            // Fails only where nobody waits any more.
            let _ = sender.send((read, line, stdout));
        });
        let Ok((read, line, stdout)) = receiver.recv_timeout(START_MAX) else {
            panic!("no `listening on` in {START_MAX:?}\n{}", self.stderr());
        };
        read.expect("standard output");
        let Some(url) = line.trim_end().strip_prefix("listening on ") else {
            panic!("expected `listening on`, found {line:?}\n{}", self.stderr());
        };
        Server {
            url: url.to_owned(),
            process: self,
            stdout,
        }
    }

    /// Waits for a process that cannot serve: its status, and what it wrote to standard error.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = self.wait_for_end();
        (status, self.stderr())
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child of ours") {
            panic!("the server ended by itself: {status}\n{}", self.stderr());
        }
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        for _ in 0..STOP_TICKS {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            sleep(TICK);
        }
        panic!("still runs\n{}", self.stderr());
    }

    /// Waits until it has written a line to standard error that starts so.
    pub(crate) fn says(&self, start: &str) {
        for _ in 0..STOP_TICKS {
            let text = fs::read_to_string(&self.stderr).unwrap_or_default();
            if text.lines().any(|line| line.starts_with(start)) {
                return;
            }
            sleep(TICK);
        }
        panic!("never said `{start}`\n{}", self.stderr());
    }

    /// The end of what it wrote to standard error.
    pub(crate) fn stderr(&self) -> String {
        let text = fs::read(&self.stderr).unwrap_or_default();
        let from = text.len().saturating_sub(STDERR_SHOWN);
        let path = self.stderr.display();
        format!("{path}:\n{}", String::from_utf8_lossy(&text[from..]))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.stderr());
        }
    }
}

/// A process that serves. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) process: Process,
    /// Kept open, so that writing to it never fails.
    stdout: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(directory: &Path) -> Self {
        Process::start(directory).serving()
    }

    /// The next line of what it prints; waits for it.
    pub(crate) fn printed_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("standard output");
        line
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits until it is gone.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let sent = Command::new("kill")
            .arg("-TERM")
            .arg(self.process.child.id().to_string())
            .status()
            .expect("kill(1)");
        assert!(sent.success(), "kill -TERM: {sent}");
        self.process.wait_for_end()
    }
}
