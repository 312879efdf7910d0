import { mount } from "svelte";
import App from "./App.svelte";
import "./app.css";

// The token was in the address once, and is a cookie now: nobody is to read it off the screen, or a list of addresses.
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", location.pathname + location.hash);

const target = document.getElementById("app");
if (!target) throw new Error("index.html has no #app");
mount(App, { target });
