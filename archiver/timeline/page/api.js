// Questions to the server. The token comes from the address, stays in this tab, and goes with each question in a header.

const KEY = "archiver-token";
const given = new URLSearchParams(location.hash.slice(1));

if (given.get("token")) {
  sessionStorage.setItem(KEY, given.get("token"));
  given.delete("token");
  history.replaceState(null, "", given.size ? `#${given}` : location.pathname);
}

export class Failed extends Error {
  constructor(message, hint) {
    super(hint ? `${message}. ${hint[0].toUpperCase()}${hint.slice(1)}.` : message);
  }
}

export async function ask(what, query, signal) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== "" && value !== undefined) words.set(name, value);
  let answer;
  try {
    answer = await fetch(`api/${what}?${words}`, {
      signal, headers: { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` }, credentials: "omit", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed("The server does not answer", "look whether `archiver web` still runs");
  }
  if (answer.status === 401) throw new Failed("This page needs the address that `archiver web` printed, with its token");
  const body = answer.headers.get("Content-Type")?.startsWith("application/json") ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) throw new Failed(body.error, body.hint);
  return body;
}
