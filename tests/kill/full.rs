//! A full disk: a small file system in memory, mounted where only this test sees it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::client::{Client, Values, upsert_body};
use crate::server::{Process, Server};
use crate::unwritable::{files, large_row, recovers, refused, says_degraded};

const NAMESPACE: &str = "full";
const ENOSPC: &str = "No space left on device";
const EROFS: &str = "Read-only file system";
/// Bytes of text in a large row.
const LARGE_BYTES: usize = 256 << 10;
/// Room that the filler leaves for a few large rows, bytes.
const LEFT_BYTES: usize = 3 * LARGE_BYTES;

/// A file system of 4 MiB that lives as long as this value, over server processes.
struct Disk {
    directory: TempDir,
    /// Keeps the mount: ends when its standard input does.
    holder: Child,
}

impl Disk {
    /// `None` where the machine does not let us, after saying so.
    fn mount(test: &str) -> Option<Self> {
        let directory = TempDir::new().expect("a directory");
        fs::create_dir(directory.path().join("disk")).expect("made");
        let script = "mount -t tmpfs -o size=4m,mode=0777 none \"$1\" && echo mounted && exec cat";
        let holder = Command::new("unshare")
            .args(["-rm", "sh", "-c", script, "sh"])
            .arg(directory.path().join("disk"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut holder = match holder {
            Ok(holder) => holder,
            Err(error) => {
                println!("SKIPPED {test}: unshare: {error}");
                return None;
            }
        };
        let stdout = holder.stdout.as_mut().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("read");
        let disk = Self { directory, holder };
        if line != "mounted\n" {
            let output = disk.refusal();
            println!("SKIPPED {test}: {output}");
            return None;
        }
        Some(disk)
    }

    fn refusal(mut self) -> String {
        drop(self.holder.stdin.take());
        let mut stderr = String::new();
        if let Some(mut pipe) = self.holder.stderr.take() {
            // What it says is all we want; nothing is lost where it says nothing.
            let _ = std::io::Read::read_to_string(&mut pipe, &mut stderr);
        }
        stderr.trim().to_owned()
    }

    /// The mount as this process sees it.
    fn root(&self) -> PathBuf {
        let disk = self.directory.path().join("disk");
        let below = disk.strip_prefix("/").expect("absolute");
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(below)
    }

    fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    fn enter(&self) -> Vec<String> {
        let id = self.holder.id();
        [
            "nsenter",
            "--preserve-credentials",
            "-U",
            "-m",
            "-t",
            &id.to_string(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn process(&self) -> Process {
        let enter = self.enter();
        let wrapper: Vec<&str> = enter.iter().map(String::as_str).collect();
        let data = self.directory.path().join("disk/data");
        Process::start_by(&wrapper, self.directory.path(), &data)
    }

    fn start(&self) -> Server {
        self.process().serving()
    }

    /// Fills the disk but for `left` bytes.
    fn fill(&self, name: &str, left: usize) {
        let path = self.root().join(name);
        let mut file = File::create(&path).expect("an empty file");
        let block = [1; 4_096];
        let mut written = 0_u64;
        while file.write_all(&block).is_ok() {
            written += block.len() as u64;
        }
        file.set_len(written.saturating_sub(left as u64))
            .expect("cut");
    }

    fn free(&self, name: &str) {
        fs::remove_file(self.root().join(name)).expect("the filler");
    }

    fn remount(&self, how: &str) {
        let enter = self.enter();
        let status = Command::new(&enter[0])
            .args(&enter[1..])
            .args(["mount", "-o", &format!("remount,{how}")])
            .arg(self.directory.path().join("disk"))
            .status()
            .expect("nsenter");
        assert!(status.success(), "remount {how}: {status}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn full_disk_refuses_writes_keeps_reads_and_recovers_without_a_restart() {
    let Some(disk) = Disk::mount("full_disk_refuses_writes") else {
        return;
    };
    let mut server = disk.start();
    let client = Client::new(&server.url, NAMESPACE);
    client.upsert(&[(1, 10), (2, 20)]);
    let mut acknowledged = Values::from([(1, 10), (2, 20)]);
    disk.fill("filler", LEFT_BYTES);

    // Until there is no room for one more.
    let mut id = 100;
    while client
        .try_write(&large_row(id, id, LARGE_BYTES))
        .expect("an answer")
        .status
        == 200
    {
        acknowledged.insert(id, id);
        id += 1;
        assert!(id < 110, "the disk never fills");
    }
    assert!(id > 100, "room for one at least");
    let ids: Vec<u64> = acknowledged.keys().copied().chain([id, id + 1]).collect();
    let before = files(&disk.data());
    let message = refused(&client, &large_row(id, id, LARGE_BYTES), ENOSPC);
    assert!(message.contains("/wal/"), "it names the object: {message}");
    says_degraded(&client, ENOSPC);
    assert_eq!(
        files(&disk.data()),
        before,
        "nothing changed, nothing left behind"
    );
    assert_eq!(client.read(&ids), Some(acknowledged.clone()));

    // Not even a page is left.
    disk.fill("last", 0);
    refused(&client, &upsert_body(&[(1, 11)]), ENOSPC);
    let other = Client::new(&server.url, "another");
    refused(&other, &upsert_body(&[(1, 11)]), ENOSPC);
    says_degraded(&client, ENOSPC);
    assert_eq!(client.read(&ids), Some(acknowledged.clone()));
    assert_eq!(other.read(&[1]), None, "it was not created");

    disk.free("filler");
    recovers(&client);
    client.write(&large_row(id, id, LARGE_BYTES));
    client.upsert(&[(1, 12)]);
    other.upsert(&[(1, 13)]);
    acknowledged.extend([(id, id), (1, 12)]);
    assert_eq!(client.read(&ids), Some(acknowledged.clone()));

    server.kill();
    let server = disk.start();
    let client = Client::new(&server.url, NAMESPACE);
    assert_eq!(client.read(&ids), Some(acknowledged));
    let other = Client::new(&server.url, "another");
    assert_eq!(other.read(&[1]), Some(Values::from([(1, 13)])));
}

#[test]
fn disk_mounted_read_only_refuses_writes_until_it_is_writable_again() {
    let Some(disk) = Disk::mount("disk_mounted_read_only") else {
        return;
    };
    let server = disk.start();
    let client = Client::new(&server.url, NAMESPACE);
    client.upsert(&[(1, 10)]);
    disk.remount("ro");
    refused(&client, &upsert_body(&[(1, 11)]), EROFS);
    says_degraded(&client, EROFS);
    assert_eq!(client.read(&[1]), Some(Values::from([(1, 10)])));
    disk.remount("rw");
    recovers(&client);
    client.upsert(&[(1, 12)]);
    assert_eq!(client.read(&[1]), Some(Values::from([(1, 12)])));
}

#[test]
fn start_on_a_full_disk_fails_with_its_name() {
    let Some(disk) = Disk::mount("start_on_a_full_disk") else {
        return;
    };
    disk.fill("filler", 0);
    let (status, stderr) = disk.process().ended();
    assert_eq!(status.code(), Some(1), "{status}: {stderr}");
    assert!(stderr.contains(ENOSPC), "{stderr}");
    assert!(
        stderr.contains("/disk/data"),
        "it names the directory: {stderr}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
    disk.free("filler");
    let server = disk.start();
    Client::new(&server.url, NAMESPACE).upsert(&[(1, 10)]);
}
