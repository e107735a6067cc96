import { podwire } from './podwire.js'

// The first lines of the program `podwire` (podwire.ts).

podwire(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status
  },
  (thrown) => {
    process.stderr.write(`podwire: ${thrown instanceof Error ? thrown.stack : thrown}\n`)
    process.exitCode = 2
  },
)
