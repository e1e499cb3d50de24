//! Is an answer right? By its words ([`grader`]), or by the verdict of a text model ([`judge`]).

pub mod grader;
pub mod judge;
