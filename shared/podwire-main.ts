import { podwire } from './podwire.js'

// The first lines of the program `podwire` (podwire.ts).

// Who reads has seen enough: `podwire ... | head`.
process.stdout.on('error', (thrown: NodeJS.ErrnoException) => {
  if (thrown.code !== 'EPIPE') throw thrown
  process.exit()
})

podwire(process.argv.slice(2)).then(
  (status) => {
    process.exitCode = status
  },
  (thrown) => {
    process.stderr.write(`podwire: ${thrown instanceof Error ? thrown.stack : thrown}\n`)
    process.exitCode = 2
  },
)
