/** The folder that the page is served from, with a slash at its end: all URLs are relative to it. */
export const base = new URL('.', document.baseURI).href;
