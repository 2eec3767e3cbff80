//! Decompression of xz streams, by liblzma itself.
//!
//! The decoder of async-compression guesses the format of every stream again. It accepts streams of two older formats after
//! the first stream, and padding of any length at the end.

use std::io::{self, BufRead as _};

use liblzma::stream::{Action, CONCATENATED, Error as LzmaError, Status, Stream, TELL_UNSUPPORTED_CHECK};

use super::error::{ReadError, TooManyEmpty};
use super::input::Input;
use super::large_window::{LargeWindow, USUAL_WINDOW};
use crate::limits::Limits;

/// How many bytes of an xz stream may contain no data. An index of this size belongs to terabytes of data.
const MAX_WITHOUT_DATA: u64 = 8 << 20;

/// An upper bound for the memory that liblzma needs beside the dictionary, in bytes.
const OVERHEAD: u64 = 1 << 20;

/// Reads the data of an xz archive: one or more streams with their padding.
pub(super) struct XzReader<'a> {
    input: &'a mut Input,
    decoder: Stream,
    max_dictionary: u64,
    large_window: Option<LargeWindow>,
    /// The bytes that liblzma has consumed since it returned data. It does not report the ends of streams.
    without_data: u64,
}

impl<'a> XzReader<'a> {
    pub(super) fn new(input: &'a mut Input, limits: &Limits) -> Result<Self, ReadError> {
        let memory = limits.xz_dictionary.min(USUAL_WINDOW) + OVERHEAD;
        let decoder = Stream::new_stream_decoder(memory, CONCATENATED | TELL_UNSUPPORTED_CHECK)
            .map_err(|error| ReadError::Memory(error.into()))?;
        Ok(Self { input, decoder, max_dictionary: limits.xz_dictionary, large_window: None, without_data: 0 })
    }

    /// Reads data into `buffer`, and returns its length. Returns 0 only at the end.
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

    /// Whether the limits allow a larger dictionary than the usual one. The usual one is tried first.
    fn may_grow(&self) -> bool {
        self.large_window.is_none() && self.max_dictionary > USUAL_WINDOW
    }

    fn grow(&mut self) -> io::Result<()> {
        self.large_window = Some(LargeWindow::wait());
        self.decoder.set_memlimit(self.max_dictionary.saturating_add(OVERHEAD))?;
        Ok(())
    }
}
