//! Workflows: what runs by itself, step by step.

pub mod action;
