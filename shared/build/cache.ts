import { readFileSync, writeFileSync } from 'node:fs'
import { Script } from 'node:vm'

/** Writes beside each script FILE.js what V8 made of it, as FILE.cache. Run by a Node under the flags of a start (flags.ts). */
for (const file of process.argv.slice(2)) {
  const script = new Script(readFileSync(file, 'latin1'), { filename: 'cache' })
  writeFileSync(file.replace(/\.js$/, '.cache'), script.createCachedData())
}
