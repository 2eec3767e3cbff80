//! Archives built byte by byte, and directories to unpack them to.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream;
use larder_archive::{UnpackError, UnpackErrorKind, UnpackOptions, Unpacked, unpack};
use larder_hashing::{HashOptions, OutputPath, Scheme, content_hash};
use larder_tree::Workers;

/// A tar stream that is being written.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

/// One header, field by field.
pub(crate) struct Header {
    pub(crate) name: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) kind: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) gnu: bool,
}

impl Header {
    pub(crate) fn new(name: &str, kind: u8) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        Self { name: name.into(), mode, size: 0, kind, link: Vec::new(), gnu: false }
    }

    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        block[..self.name.len()].copy_from_slice(&self.name);
        block[100..108].copy_from_slice(format!("{:07o}\0", self.mode).as_bytes());
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", self.size).as_bytes());
        block[136..148].copy_from_slice(b"00000000000\0");
        block[156] = self.kind;
        block[157..157 + self.link.len()].copy_from_slice(&self.link);
        block[257..265].copy_from_slice(if self.gnu { b"ustar  \0" } else { b"ustar\x0000" });
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

impl Tar {
    pub(crate) fn header(mut self, header: &Header) -> Self {
        self.0.extend_from_slice(&header.block());
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn padded(self, bytes: &[u8]) -> Self {
        let padding = bytes.len().next_multiple_of(512) - bytes.len();
        self.raw(bytes).raw(&vec![0; padding])
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.file_with(Header::new(name, b'0'), content)
    }

    pub(crate) fn file_with(self, mut header: Header, content: &[u8]) -> Self {
        header.size = content.len() as u64;
        self.header(&header).padded(content)
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.header(&Header::new(name, b'5'))
    }

    pub(crate) fn link(self, kind: u8, name: &str, target: &str) -> Self {
        let mut header = Header::new(name, kind);
        header.link = target.into();
        self.header(&header)
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(b'2', name, target)
    }

    /// A pax header with these records.
    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let body: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        let mut header = Header::new("pax", b'x');
        header.size = body.len() as u64;
        self.header(&header).padded(body.as_bytes())
    }

    /// Adds GNU's long name (`L`) or long link (`K`).
    pub(crate) fn gnu_long(self, kind: u8, text: &str) -> Self {
        let mut header = Header::new("././@LongLink", kind);
        header.gnu = true;
        header.size = text.len() as u64 + 1;
        self.header(&header).padded(&[text.as_bytes(), b"\0"].concat())
    }

    /// Returns the archive with its end.
    pub(crate) fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }
}

pub(crate) fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    format!("{len} {key}={value}\n")
}

/// A directory to unpack to, beside a file that must not change.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("staging")).unwrap();
        fs::write(dir.path().join("victim"), "untouched").unwrap();
        Self { dir }
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    pub(crate) fn unpack(&self, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        // Starting threads for each of a thousand archives would take longer than unpacking them.
        static WORKERS: LazyLock<Workers> = LazyLock::new(Workers::default);
        let options =
            UnpackOptions::default().with_scheme(Some(Scheme::Blake3)).with_workers(WORKERS.clone());
        self.unpack_with(archive, &options)
    }

    pub(crate) fn unpack_with(
        &self,
        archive: &[u8],
        options: &UnpackOptions,
    ) -> Result<Unpacked, UnpackError> {
        // Use small chunks, so that nothing depends on their ends.
        let chunks: Vec<_> = archive.chunks(1000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let stream = stream::iter::<Vec<Result<Bytes, std::io::Error>>>(chunks);
        let outcome = block_on(unpack(stream, &self.staging(), &OutputPath::new("m").unwrap(), options));
        assert_eq!(fs::read_to_string(self.dir.path().join("victim")).unwrap(), "untouched");
        assert_eq!(
            fs::read_dir(self.dir.path()).unwrap().count(),
            2,
            "nothing is made outside the destination"
        );
        outcome
    }

    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.staging().join(name)).ok()
    }
}

#[track_caller]
pub(crate) fn accepted(archive: &[u8]) -> (Place, Unpacked) {
    let place = Place::new();
    let unpacked = place.unpack(archive).unwrap_or_else(|error| panic!("{error}: {error:?}"));
    // The hash of the written files equals the hash from unpacking.
    let there = content_hash(&place.staging().join("m"), &HashOptions::default()).unwrap();
    assert_eq!(unpacked.content_hash, Some(there));
    (place, unpacked)
}

#[track_caller]
pub(crate) fn refused(archive: &[u8]) -> String {
    refused_with(archive, &UnpackOptions::default())
}

#[track_caller]
pub(crate) fn refused_with(archive: &[u8], options: &UnpackOptions) -> String {
    let error = Place::new().unpack_with(archive, options).expect_err("this archive must be refused");
    assert_eq!(error.kind(), UnpackErrorKind::Integrity, "{error:?}");
    error.to_string()
}

pub(crate) fn m() -> Tar {
    Tar::default().dir("m/")
}

/// Returns the bytes of these files, concatenated.
pub(crate) fn bytes_of<'a>(place: &Place, names: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    names.into_iter().flat_map(|name| place.read(name).unwrap()).collect()
}
