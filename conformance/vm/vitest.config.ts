import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { nodeFlags } from '../../shared/heap/flags.js'
import { patience, retry } from '../runner/patience.js'
import { virtualModulesPlugin } from '../runner/vite.js'
import { ReportFile } from './report.js'

// The conformance tests as one run among others: in the guest, on another root, or here on a full kernel. Outside stays
// what starts these. Two workers, because tests wait for plugins most of the time; vitest would take one.
export default defineConfig({
  plugins: [virtualModulesPlugin()],
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['conformance/**/*.test.ts'],
    exclude: ['conformance/vm/guest.test.ts', 'conformance/{roots,arm64}/*.test.ts'],
    globalSetup: 'conformance/setup/global.ts',
    execArgv: nodeFlags,
    reporters: ['verbose', new ReportFile()],
    testTimeout: patience,
    hookTimeout: patience,
    retry,
    maxWorkers: 2,
    // A fresh process and all imports again cost seconds a file there; every test has a throw-away host anyway.
    isolate: false,
  },
})
