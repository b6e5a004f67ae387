//! Does it work for a person? Debian's Chromium, driven through chromedriver, on the real pages.

mod chromium;
mod pages;
mod tutorial;
