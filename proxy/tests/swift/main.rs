//! The Swift door over a real store, as its clients see it: one request, one answer.

mod access;
mod account;
mod conditional;
mod container;
mod copying;
mod door;
mod large;
mod object;
mod ranges;
mod sharing;
mod uploads;
