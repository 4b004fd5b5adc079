#![no_main]

self_heal_fuzz::target!(self_heal_fuzz::bodies::target("lint"));
