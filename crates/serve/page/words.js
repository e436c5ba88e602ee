// The words of the page. English stands in the code; another language is a table from it.
import { chinese } from "./chinese.js";

let language = begin();

function begin() {
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = asked || kept() || navigator.language || "en";
  return wanted.toLowerCase().startsWith("zh") ? "zh" : "en";
}

// A file that is opened from a disk may be given no storage.
function kept() {
  try {
    return localStorage.getItem("tril-language");
  } catch {
    return null;
  }
}

export function chosenLanguage() {
  return language;
}

export function chooseLanguage(code) {
  language = code;
  try {
    localStorage.setItem("tril-language", code);
  } catch {
    // It is chosen for this time.
  }
}

// A text in the reader's language, with its {places} filled in.
export function t(text, values) {
  const told = language === "zh" ? chinese[text] || text : text;
  return values ? told.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole)) : told;
}
