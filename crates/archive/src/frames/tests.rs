//! Reading frames of larder and of other programs, and hostile frames.

mod damage;
mod limits;
mod other_programs;
mod reading;
mod support;
