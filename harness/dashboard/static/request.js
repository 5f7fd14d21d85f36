// The page of one request: its trace id into the clipboard.

const button = document.getElementById("copy");
const id = document.getElementById("trace-id");
const said = document.getElementById("copied");

function select() {
  const range = document.createRange();
  range.selectNodeContents(id);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(id.textContent);
    said.textContent = "Copied.";
  } catch {
    // Not allowed, or no secure place: it is marked, so that a key press copies it.
    select();
    said.textContent = "Marked: press Ctrl+C.";
  }
}

if (button && id) {
  button.hidden = false;
  button.addEventListener("click", copy);
}
