//! Decompression of xz streams, by liblzma itself.
//!
//! The decoder of async-compression begins anew with every stream, by guessing. It accepts streams of two older formats
//! after the first stream, and padding of any length at the end.

use std::io::{self, BufRead as _};

use liblzma::stream::{Action, CONCATENATED, Error as LzmaError, Status, Stream, TELL_UNSUPPORTED_CHECK};

use super::error::{ReadError, TooManyEmpty};
use super::input::Input;
use super::large_window::{LargeWindow, USUAL_WINDOW};
use crate::limits::Limits;

/// How much of an xz stream may bring no data, in bytes. An index of this size belongs to terabytes of data.
const MAX_WITHOUT_DATA: u64 = 8 << 20;

/// The memory that liblzma needs beside the dictionary, in bytes, generously.
const OVERHEAD: u64 = 1 << 20;

/// Reads the data of an xz archive: streams that follow each other, with padding as the format has it.
pub(super) struct XzReader<'a> {
    input: &'a mut Input,
    decoder: Stream,
    max_dictionary: u64,
    large_window: Option<LargeWindow>,
    /// The bytes that liblzma has taken since it returned data. It does not tell where streams end.
    without_data: u64,
}

impl<'a> XzReader<'a> {
    pub(super) fn new(input: &'a mut Input, limits: &Limits) -> Result<Self, ReadError> {
        let memory = limits.xz_dictionary.min(USUAL_WINDOW) + OVERHEAD;
        let decoder = Stream::new_stream_decoder(memory, CONCATENATED | TELL_UNSUPPORTED_CHECK)
            .map_err(|error| ReadError::Memory(error.into()))?;
        Ok(Self { input, decoder, max_dictionary: limits.xz_dictionary, large_window: None, without_data: 0 })
    }

    /// Fills `buffer`, or as much of it as there is data for at once. 0 only at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.without_data > MAX_WITHOUT_DATA {
                return Err(io::Error::other(TooManyEmpty));
            }
            let input = self.input.fill_buf()?;
            let at_end = input.is_empty();
            let (taken, returned) = (self.decoder.total_in(), self.decoder.total_out());
            let action = if at_end { Action::Finish } else { Action::Run };
            let status = self.decoder.process(input, buffer, action);
            let taken = usize::try_from(self.decoder.total_in() - taken).unwrap_or(usize::MAX);
            let returned = usize::try_from(self.decoder.total_out() - returned).unwrap_or(usize::MAX);
            self.input.consume(taken);
            self.without_data = if returned > 0 { 0 } else { self.without_data + taken as u64 };
            match status {
                Err(LzmaError::MemLimit) if self.may_grow() => self.grow()?,
                Err(error) => return Err(error.into()),
                Ok(Status::StreamEnd) => return Ok(returned),
                Ok(_) if returned == 0 && at_end => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) if returned == 0 && taken == 0 => return Err(io::ErrorKind::InvalidData.into()),
                Ok(_) => {}
            }
            if returned > 0 {
                return Ok(returned);
            }
        }
    }

    /// Whether the limits allow a larger dictionary than the usual one, which is the first that is tried.
    fn may_grow(&self) -> bool {
        self.large_window.is_none() && self.max_dictionary > USUAL_WINDOW
    }

    fn grow(&mut self) -> io::Result<()> {
        self.large_window = Some(LargeWindow::wait());
        self.decoder.set_memlimit(self.max_dictionary.saturating_add(OVERHEAD))?;
        Ok(())
    }
}
