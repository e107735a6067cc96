import { plugins } from 'podwire:plugins'

// A plugin is loaded by the first call of it. Here before the first test: what runs once while a module loads must not
// count as what that one test runs.
await Promise.all(Object.values(plugins).map((load) => load()))
