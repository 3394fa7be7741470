//! How much memory there is: settings that are 0 are a share of it.

use std::path::Path;

/// Assumed where the operating system does not tell, bytes.
const FALLBACK_BYTES: u64 = 4 << 30;

/// Returns the memory this process may use, bytes: the machine's, or the container's if that is less.
pub fn memory_bytes() -> u64 {
    memory_bytes_under(Path::new("/"))
}

fn memory_bytes_under(root: &Path) -> u64 {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").and_then(|text| parse_meminfo(&text));
    let container = read("sys/fs/cgroup/memory.max")
        .or_else(|| read("sys/fs/cgroup/memory/memory.limit_in_bytes"))
        .and_then(|text| text.trim().parse().ok());
    match (machine, container) {
        (Some(machine), Some(container)) => container.min(machine),
        (Some(bytes), None) | (None, Some(bytes)) => bytes,
        (None, None) => FALLBACK_BYTES,
    }
}

fn parse_meminfo(text: &str) -> Option<u64> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: u64) {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = root.path().join(path);
            let folder = path.parent().expect("below the root");
            std::fs::create_dir_all(folder).expect("folders");
            std::fs::write(path, text).expect("written");
        }
        assert_eq!(memory_bytes_under(root.path()), expected, "{files:?}");
    }

    #[test]
    fn memory_is_the_smaller_of_machine_and_container() {
        let machine = ("proc/meminfo", "MemFree:  1 kB\nMemTotal:       2048 kB\n");
        let max = "sys/fs/cgroup/memory.max";
        check(&[], FALLBACK_BYTES);
        check(&[machine], 2 << 20);
        check(&[machine, (max, "max\n")], 2 << 20);
        check(&[machine, (max, "1048576\n")], 1 << 20);
        let older = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        check(&[machine, (older, "9223372036854771712\n")], 2 << 20);
        check(&[machine, (older, "4096\n")], 4_096);
    }
}
