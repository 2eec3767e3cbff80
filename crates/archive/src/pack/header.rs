//! Headers of tar entries: ustar, with pax records where ustar cannot hold a value.
//!
//! The format is that of POSIX.1-2001, "pax". Names are stored as bytes. Readers (GNU tar, Python) decode them as UTF-8 if
//! possible, and keep the bytes otherwise.

use tokio_tar::{EntryType, Header};

/// The size of a block, in bytes: a header has one, and contents are padded to whole ones.
pub(super) const BLOCK: usize = 512;

/// The time of every entry, in seconds since 1970. It is the start of 1980-01-02, because zip has no time before 1980 in
/// any time zone.
const MODIFIED: u64 = 315_619_200;

/// The largest size in a ustar header: 8 GiB less one byte.
const MAX_USTAR_SIZE: u64 = 0o777_7777_7777;

/// The kind of an entry, for its header.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeaderKind<'a> {
    File { executable: bool, size: u64 },
    Directory,
    Symlink { target: &'a [u8] },
}

/// Appends the header of the entry `name` to `out`, with an extended header before it if needed. The name of a directory
/// ends with a slash.
pub(super) fn write(out: &mut Vec<u8>, name: &[u8], kind: HeaderKind<'_>) {
    let (entry_type, mode, size, target) = match kind {
        HeaderKind::File { executable: false, size } => (EntryType::Regular, 0o644, size, &b""[..]),
        HeaderKind::File { executable: true, size } => (EntryType::Regular, 0o755, size, &b""[..]),
        HeaderKind::Directory => (EntryType::Directory, 0o755, 0, &b""[..]),
        HeaderKind::Symlink { target } => (EntryType::Symlink, 0o644, 0, target),
    };
    let mut header = Header::new_ustar();
    let mut records = Vec::new();
    if let Some(ustar) = header.as_ustar_mut() {
        match split(name) {
            Some((prefix, rest)) => {
                ustar.prefix[..prefix.len()].copy_from_slice(prefix);
                ustar.name[..rest.len()].copy_from_slice(rest);
            }
            None => record(&mut records, "path", name),
        }
        if target.len() <= ustar.linkname.len() {
            ustar.linkname[..target.len()].copy_from_slice(target);
        } else {
            record(&mut records, "linkpath", target);
        }
    }
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    if size <= MAX_USTAR_SIZE {
        header.set_size(size);
    } else {
        header.set_size(0);
        record(&mut records, "size", size.to_string().as_bytes());
    }
    if !records.is_empty() {
        write_extended(out, &records);
    }
    finish(&mut header);
    out.extend_from_slice(header.as_bytes());
}

/// Splits a name into the prefix and the name of a ustar header, if it fits.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    const NAME: usize = 100;
    const PREFIX: usize = 155;
    if name.len() <= NAME {
        return Some((b"", name));
    }
    // Split at the first slash that leaves a short enough rest. The slash is not stored, and the rest is not empty.
    let earliest = name.len() - NAME - 1;
    let at = earliest + name[earliest..name.len() - 1].iter().position(|byte| *byte == b'/')?;
    (at > 0 && at <= PREFIX).then(|| (&name[..at], &name[at + 1..]))
}

/// Appends a pax record: its own length in decimal, the keyword, the value.
fn record(records: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut len = rest + 1;
    // The length counts its own digits.
    while rest + len.to_string().len() > len {
        len += 1;
    }
    records.extend_from_slice(format!("{len} {keyword}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn write_extended(out: &mut Vec<u8>, records: &[u8]) {
    // Readers without support for extended headers see this name. Python uses the same.
    const NAME: &[u8] = b"././@PaxHeader";
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..NAME.len()].copy_from_slice(NAME);
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_size(records.len() as u64);
    finish(&mut header);
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(records);
    out.resize(out.len() + padding(records.len() as u64), 0);
}

fn finish(header: &mut Header) {
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MODIFIED);
    header.set_cksum();
}

/// Returns how many zero bytes follow `size` bytes of content.
pub(super) fn padding(size: u64) -> usize {
    let used = usize::try_from(size % BLOCK as u64).expect("less than a block");
    (BLOCK - used) % BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &[u8]) -> String {
        String::from_utf8_lossy(out).into_owned()
    }

    #[test]
    fn a_short_name_is_one_block() {
        let mut out = Vec::new();
        write(&mut out, b"model/run.sh", HeaderKind::File { executable: true, size: 10 });
        assert_eq!(out.len(), BLOCK);
        let header = Header::from_byte_slice(&out);
        assert_eq!(header.path_bytes(), &b"model/run.sh"[..]);
        assert_eq!((header.mode().unwrap(), header.raw_file_size().unwrap()), (0o755, 10));
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, MODIFIED));
        assert!(header.as_ustar().is_some());
    }

    #[test]
    fn a_name_is_split_where_both_parts_fit() {
        let long = |a: usize, b: usize| [vec![b'a'; a], b"/".to_vec(), vec![b'b'; b]].concat();
        assert_eq!(split(&[b'n'; 100]), Some((&b""[..], &[b'n'; 100][..])));
        assert_eq!(split(&[b'n'; 101]), None);
        let name = long(155, 100);
        assert_eq!(split(&name), Some((&name[..155], &name[156..])));
        assert_eq!(split(&long(156, 100)), None);
        assert_eq!(split(&long(155, 101)), None);
        // The slash that ends a directory's name does not split it.
        assert_eq!(split(&[vec![b'd'; 100], b"/".to_vec()].concat()), None);
        let directory = [long(10, 99), b"/".to_vec()].concat();
        assert_eq!(split(&directory), Some((&directory[..10], &directory[11..])));
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for len in 1..1200 {
            let mut records = Vec::new();
            record(&mut records, "path", &vec![b'x'; len]);
            let (counted, _) =
                text(&records).split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            assert_eq!(counted, records.len().to_string(), "a value of {len} bytes");
        }
    }

    #[test]
    fn values_beyond_ustar_are_in_a_record() {
        let mut out = Vec::new();
        write(&mut out, &[b'n'; 101], HeaderKind::File { executable: false, size: 8 << 30 });
        assert_eq!(out.len(), 3 * BLOCK);
        assert!(
            text(&out[BLOCK..]).starts_with(&format!("111 path={}\n19 size=8589934592\n\0", "n".repeat(101)))
        );
        out.clear();
        write(&mut out, b"l", HeaderKind::Symlink { target: &[b't'; 101] });
        assert!(text(&out[BLOCK..]).starts_with(&format!("115 linkpath={}\n\0", "t".repeat(101))));
        out.clear();
        write(&mut out, b"f", HeaderKind::File { executable: false, size: (8 << 30) - 1 });
        assert_eq!(out.len(), BLOCK);
    }
}
