import { start } from './start.js'

// The main script where the binary starts from Node's own saved heap (shared/heap/heap.ts makes another).
start(require)
