//! Decompression of xz streams, by liblzma itself.
//!
//! The decoder of async-compression guesses the format of every stream again. It accepts streams of two older formats after
//! the first stream, and padding of any length at the end.

use std::io::{self, BufRead as _};

use liblzma::stream::{Action, CONCATENATED, Error as LzmaError, Status, Stream, TELL_UNSUPPORTED_CHECK};

use super::error::{ReadError, TooManyFrames};
use super::input::Input;
use super::large_window::{LargeWindow, USUAL_WINDOW};
use crate::limits::Limits;

/// How many bytes an xz archive may have in any case. Empty streams of this size take less than a second.
const FREE_INPUT: u64 = 4 << 20;

/// How many more bytes it may have for each byte of data. Data that cannot be compressed takes little more than one.
const MAX_INPUT_PER_BYTE: u64 = 2;

/// An upper bound for the memory that liblzma needs beside the dictionary, in bytes.
const OVERHEAD: u64 = 1 << 20;

/// Reads the data of an xz archive: one or more streams with their padding.
pub(super) struct XzReader<'a> {
    input: &'a mut Input,
    decoder: Stream,
    max_dictionary: u64,
    large_window: Option<LargeWindow>,
}

impl<'a> XzReader<'a> {
    pub(super) fn new(input: &'a mut Input, limits: &Limits) -> Result<Self, ReadError> {
        let memory = limits.xz_dictionary.min(USUAL_WINDOW) + OVERHEAD;
        let decoder = Stream::new_stream_decoder(memory, CONCATENATED | TELL_UNSUPPORTED_CHECK)
            .map_err(|error| ReadError::Memory(error.into()))?;
        Ok(Self { input, decoder, max_dictionary: limits.xz_dictionary, large_window: None })
    }

    /// Reads data into `buffer`, and returns its length. Returns 0 only at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.check_streams()?;
            let input = self.input.fill_buf()?;
            let at_end = input.is_empty();
            let (taken, returned) = (self.decoder.total_in(), self.decoder.total_out());
            let action = if at_end { Action::Finish } else { Action::Run };
            let status = self.decoder.process(input, buffer, action);
            let taken = usize::try_from(self.decoder.total_in() - taken).unwrap_or(usize::MAX);
            let returned = usize::try_from(self.decoder.total_out() - returned).unwrap_or(usize::MAX);
            self.input.consume(taken);
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

    /// Refuses tiny or empty streams, each of which costs time. liblzma does not report the ends of streams, so this compares the
    /// input with the data.
    fn check_streams(&self) -> io::Result<()> {
        let allowed = self.decoder.total_out().saturating_mul(MAX_INPUT_PER_BYTE).saturating_add(FREE_INPUT);
        if self.decoder.total_in() > allowed { Err(io::Error::other(TooManyFrames)) } else { Ok(()) }
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
